#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "gantry/byte_source.h"
#include "gantry/digest.h"

namespace gantry {

/// What an archive may ask for. Over a limit is InvalidInput.
struct ArchiveLimits {
  uint64_t entries = 4'000'000;
  uint64_t bytes = uint64_t{128} << 30;
  /// Bytes out for each byte in, looked at once `ratio_floor` came out: short runs of zeros reach any ratio.
  uint64_t ratio = 1000;
  uint64_t ratio_floor = uint64_t{4} << 30;
};

/// Archive bytes in pieces.
class TarInput {
 public:
  virtual ~TarInput() = default;
  /// The next piece, valid until the next call; empty at the end.
  virtual std::span<const uint8_t> next() = 0;
};

/// One archive on its way: a thread reads and inflates, another hashes what comes out, and the caller takes the same
/// bytes by `next`. A fixed set of blocks goes round, so the slowest of the three sets the pace.
///
///   fd ──> read, inflate ──> blocks ──┬──> sha256
///                                     └──> next(): the caller
class ArchiveInput : public TarInput {
 public:
  /// `fd` stays the caller's and is read to its end by `finish`.
  ArchiveInput(int fd, const ArchiveLimits& limits);
  ArchiveInput(const ArchiveInput&) = delete;
  ArchiveInput& operator=(const ArchiveInput&) = delete;
  /// Stops both threads wherever they are.
  ~ArchiveInput() override;

  std::span<const uint8_t> next() override;
  /// Takes what is left and gives the digest and size of all of it, decompressed.
  Digested finish();

 private:
  struct Block {
    std::unique_ptr<uint8_t[]> data;
    size_t size = 0;
    int holders = 0;
  };
  void read_all();
  void hash_all();
  Block* take(std::deque<Block*>& queue);
  void give_back(Block* block);

  ArchiveLimits limits_;
  Cancel cancel_;
  FdSource raw_;
  std::mutex mutex_;
  std::condition_variable freed_, filled_;
  std::vector<Block> blocks_;
  std::deque<Block*> free_, to_hash_, to_caller_;
  bool ended_ = false;
  bool stop_ = false;
  std::exception_ptr failure_;
  Block* current_ = nullptr;
  Sha256 hash_;
  uint64_t hashed_ = 0;
  std::thread reader_, hasher_;
};

}  // namespace gantry
