#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "gantry/fd.h"

namespace gantry {

/// Bytes in order, from a file or out of a decompressor.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills up to `capacity` bytes and returns how many; 0 only at the end. Throws SysError, or InvalidInput when what
  /// is read is damaged.
  virtual size_t read(uint8_t* to, size_t capacity) = 0;
};

/// Stops a read that waits for a pipe or socket whose other end does nothing.
class Cancel {
 public:
  Cancel();
  void request() noexcept;
  bool requested() const noexcept { return requested_.load(std::memory_order_acquire); }
  int fd() const noexcept { return event_.get(); }

 private:
  UniqueFd event_;
  std::atomic<bool> requested_ = false;
};

/// Reads a descriptor that somebody else owns, whether blocking or not.
class FdSource : public ByteSource {
 public:
  /// `cancel` may be null. With it, a cancelled read throws SysError ECANCELED.
  FdSource(int fd, const Cancel* cancel);
  size_t read(uint8_t* to, size_t capacity) override;
  /// Bytes read so far.
  uint64_t consumed() const noexcept { return consumed_.load(std::memory_order_relaxed); }

 private:
  void wait();
  int fd_;
  const Cancel* cancel_;
  bool may_block_;
  std::atomic<uint64_t> consumed_ = 0;
};

/// What `source` holds after decompression: gzip (of several members too), zstd (of several frames, windows up to
/// 128 MiB), bzip2 and xz (of several streams; xz with up to 128 MiB of memory) or the bytes as they are, told from the
/// first ones. `source` outlives it.
std::unique_ptr<ByteSource> decompressed(ByteSource& source);

}  // namespace gantry
