#pragma once

#include <stddef.h>
#include <stdint.h>

namespace shim {

/// Where the container's output is kept. The strings live as long as the shim.
struct LogConfig {
  /// nullptr: nothing is kept.
  const char* path = nullptr;
  /// Bytes before rotation; 0 for never.
  uint64_t max_size = 0;
  /// Files kept, the live one included.
  unsigned max_files = 1;
  /// Rotated files are gzipped, by a child of low priority.
  bool compress = false;
  /// A JSON object, or nullptr.
  const char* attrs = nullptr;
};

enum LogStream { kLogStdout = 0, kLogStderr = 1 };

constexpr size_t kMaxAttrs = 64 * 1024;

/// Opens the file. A last line that a crash tore is ended, so that the next record stands on a line of its own.
bool log_open(const LogConfig& config);
/// Takes a chunk: each whole line becomes a record, in the file when this returns. What has no line end yet waits, at
/// most 16 KiB. Never fails: what the disk does not take is counted and dropped, the container goes on.
void log_write(LogStream stream, const uint8_t* bytes, size_t size);
/// Writes what waits for its line end.
void log_end(LogStream stream);
void log_close();
/// Records that could not be written.
uint64_t log_dropped();
/// Gives the buffers' pages back; they come again with the next write.
void log_trim();

}  // namespace shim
