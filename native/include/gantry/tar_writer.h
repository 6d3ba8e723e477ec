#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gantry/digest.h"
#include "gantry/tar_reader.h"

namespace gantry {

/// Writes an archive into a descriptor and hashes it: ustar, and a PAX header for what ustar cannot say. Equal input
/// gives equal bytes.
class TarWriter {
 public:
  explicit TarWriter(int fd);

  /// Begins an entry. A file is followed by exactly `entry.size` bytes of `data`, a sparse one by the bytes of its
  /// runs, one after the other (GNU's sparse format 1.0, which Go's archive/tar, GNU tar, libarchive and Python read).
  void begin(const TarEntry& entry);
  void data(const void* bytes, size_t size);
  /// Ends the entry. Throws std::logic_error when bytes are missing.
  void end_entry();
  /// Writes the end mark and gives digest and size of all.
  Digested finish();

 private:
  void put(const void* bytes, size_t size);
  void pad();
  void flush();
  void header(const TarEntry& entry, const std::string& name, const std::string& prefix, char type, uint64_t size);
  void extended(const std::string& path, const std::map<std::string, std::string>& records);

  int fd_;
  Sha256 hash_;
  uint64_t size_ = 0;
  uint64_t left_ = 0;
  std::unique_ptr<uint8_t[]> buffer_;
  size_t used_ = 0;
};

}  // namespace gantry
