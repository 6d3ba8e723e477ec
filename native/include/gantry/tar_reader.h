#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gantry/archive_input.h"

namespace gantry {

enum class EntryType { file, hard_link, symlink, char_device, block_device, directory, fifo };

struct SparseRun {
  uint64_t offset;
  uint64_t length;
};

struct TarEntry {
  EntryType type = EntryType::file;
  /// As the archive spells it.
  std::string path;
  std::string link;
  /// Permission bits with set-user-ID, set-group-ID and sticky.
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  /// Of the file as it will be; a sparse one has fewer stored bytes.
  uint64_t size = 0;
  int64_t mtime = 0;
  uint32_t mtime_ns = 0;
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  bool sparse = false;
  /// Where the stored bytes of a sparse file go, ascending.
  std::vector<SparseRun> runs;
  std::vector<std::pair<std::string, std::string>> xattrs;
};

/// A name from outside as it may stand in a message: control characters and quotes escaped, cut when long.
std::string printable(std::string_view text);

/// Reads ustar, PAX, GNU (long names, old and PAX sparse files, binary numbers), star and old archives. What is not one
/// is InvalidInput that names the entry or the offset. Global PAX headers are checked and not applied, as Docker does:
/// what git puts there is a comment.
class TarReader {
 public:
  explicit TarReader(TarInput& input, const ArchiveLimits& limits = {}) : input_(input), limits_(limits) {}

  /// The next entry, what is left of the one before skipped; false at the end.
  bool next(TarEntry& entry);
  /// The next piece of the entry's stored bytes; empty at their end.
  std::span<const uint8_t> data();

 private:
  using Block = uint8_t[512];
  struct Extended;

  bool read_block(Block& block);
  void skip(uint64_t count);
  std::string read_text(uint64_t size, const char* what);
  void read_pax(uint64_t size, Extended& extended);
  void take_header(const Block& block, TarEntry& entry, Extended& extended);
  void read_old_sparse(const Block& block, TarEntry& entry);
  void read_sparse_map(TarEntry& entry);
  void check_runs(const TarEntry& entry) const;
  [[noreturn]] void bad(const std::string& what) const;

  TarInput& input_;
  ArchiveLimits limits_;
  std::span<const uint8_t> piece_;
  uint64_t offset_ = 0;
  uint64_t left_ = 0;
  uint64_t padding_ = 0;
  uint64_t entries_ = 0;
  bool ended_ = false;
  std::string name_;
};

}  // namespace gantry
