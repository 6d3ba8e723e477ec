#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "json_record.h"
#include "log_compress.h"
#include "sys.h"

namespace shim {
namespace {

/// A longer line becomes several records, as in Docker's copier; only the last has the line end.
constexpr size_t kMaxLine = 16 * 1024;
constexpr size_t kOverhead = 160;
constexpr size_t kBatch = 384 * 1024;
constexpr size_t kMaxRecord = kMaxLine * kEscapeFactor + kEscapeSlack + kMaxAttrs + kOverhead;
static_assert(kBatch >= 2 * kMaxRecord);

alignas(4096) char batch[kBatch];
size_t batch_used = 0;

alignas(4096) uint8_t waiting[2][kMaxLine];
size_t waiting_used[2] = {0, 0};

LogConfig config;
size_t attrs_size = 0;
int fd = -1;
uint64_t file_size = 0;
uint64_t dropped = 0;
uint64_t reopen_at = 0;

bool open_file(int more_flags) {
  fd = open(config.path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | more_flags, 0640);
  if (fd < 0) return false;
  struct stat status;
  if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
    close_fd(fd);
    errno = EINVAL;
    return false;
  }
  file_size = static_cast<uint64_t>(status.st_size);
  char last = '\n';
  if (file_size > 0 && pread(fd, &last, 1, status.st_size - 1) == 1 && last != '\n' && write(fd, "\n", 1) == 1)
    ++file_size;
  return true;
}

uint64_t count_records(const char* from, const char* end) {
  uint64_t count = 0;
  while ((from = static_cast<const char*>(memchr(from, '\n', static_cast<size_t>(end - from))))) {
    ++count;
    if (++from == end) break;
  }
  return count;
}

/// Writes the batch, or as many whole records of it as the disk takes: no half record stays in the file.
void flush() {
  if (batch_used == 0) return;
  if (fd < 0 && monotonic_ms() >= reopen_at && !open_file(0)) reopen_at = monotonic_ms() + 1000;
  size_t written = 0;
  while (fd >= 0 && written < batch_used) {
    ssize_t count = write(fd, batch + written, batch_used - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    written += static_cast<size_t>(count);
  }
  if (fd >= 0 && written == batch_used) {
    file_size += written;
  } else {
    if (dropped == 0) note_errno("log: records are dropped");
    const char* last = static_cast<const char*>(memrchr(batch, '\n', written));
    size_t kept = last ? static_cast<size_t>(last - batch) + 1 : 0;
    if (kept < batch_used) dropped += count_records(batch + kept, batch + batch_used);
    if (fd >= 0 && ftruncate(fd, static_cast<off_t>(file_size + kept)) < 0) kept = written;
    file_size += kept;
  }
  batch_used = 0;
}

void rotated_name(char* to, size_t size, unsigned number, bool compressed) {
  snprintf(to, size, "%s.%u%s", config.path, number, compressed ? ".gz" : "");
}

void rotate() {
  if (config.max_files < 2) {
    // Nothing may be kept beside the live file, so it starts again.
    if (ftruncate(fd, 0) == 0) file_size = 0;
    return;
  }
  // Its files are about to get other names.
  compress_settle();
  char from[4200], to[4200];
  for (unsigned number = config.max_files - 1; number > 1; --number) {
    for (int compressed = 0; compressed < 2; ++compressed) {
      rotated_name(from, sizeof from, number - 1, compressed != 0);
      rotated_name(to, sizeof to, number, compressed != 0);
      // The other form of the target would be an older file under a younger's number.
      if (rename(from, to) == 0) {
        rotated_name(from, sizeof from, number, compressed == 0);
        unlink(from);
      }
    }
  }
  rotated_name(to, sizeof to, 1, false);
  if (rename(config.path, to) < 0) {
    note_errno("log: rotation");
    // Tried again after as many bytes more.
    file_size = 0;
    return;
  }
  close_fd(fd);
  if (!open_file(0)) reopen_at = monotonic_ms() + 1000;
  if (config.compress) {
    rotated_name(from, sizeof from, 1, true);
    compress_start(to, from);
  }
}

struct Stamp {
  char text[40];
  size_t size;
};

Stamp stamp_now() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  Stamp stamp;
  char* end = format_time(stamp.text, now.tv_sec, static_cast<uint32_t>(now.tv_nsec));
  memcpy(end, "\"}\n", 3);
  stamp.size = static_cast<size_t>(end + 3 - stamp.text);
  return stamp;
}

/// As memchr for '\n'; the C library's goes byte by byte through what is the longest loop over the output.
const uint8_t* line_end(const uint8_t* at, const uint8_t* end) {
#ifdef __SSE2__
  for (; end - at >= 16; at += 16) {
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    unsigned found = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n'))));
    if (found != 0) return at + __builtin_ctz(found);
  }
#endif
  while (at < end && *at != '\n') ++at;
  return at < end ? at : nullptr;
}

char* put(char* to, const char* text, size_t size) {
  memcpy(to, text, size);
  return to + size;
}

/// One record from up to kMaxLine bytes; `ended` adds the line end.
void record(LogStream stream, const uint8_t* line, size_t size, bool ended, Stamp& stamp) {
  if (config.max_size > 0 && file_size + batch_used >= config.max_size) {
    flush();
    if (fd >= 0 && file_size >= config.max_size) {
      rotate();
      // A reader that lost sight of the old file tells by time what it has had.
      stamp = stamp_now();
    }
  }
  if (batch_used + size * kEscapeFactor + kEscapeSlack + attrs_size + kOverhead > kBatch) flush();
  char* start = batch + batch_used;
  char* at = put(start, "{\"log\":\"", 8);
  at = escape_json(at, line, size);
  if (ended) at = put(at, "\\n", 2);
  if (stream == kLogStdout) {
    at = put(at, "\",\"stream\":\"stdout\",", 20);
  } else {
    at = put(at, "\",\"stream\":\"stderr\",", 20);
  }
  if (attrs_size > 0) {
    at = put(at, "\"attrs\":", 8);
    at = put(at, config.attrs, attrs_size);
    *at++ = ',';
  }
  at = put(at, "\"time\":\"", 8);
  // The whole of it, so that the copy needs no call; what is too much is written over.
  memcpy(at, stamp.text, sizeof stamp.text);
  at += stamp.size;
  batch_used += static_cast<size_t>(at - start);
}

}  // namespace

bool log_open(const LogConfig& wanted) {
  config = wanted;
  if (!config.path) return true;
  attrs_size = config.attrs ? strlen(config.attrs) : 0;
  if (attrs_size > kMaxAttrs) {
    errno = E2BIG;
    return false;
  }
  return open_file(0);
}

void log_write(LogStream stream, const uint8_t* bytes, size_t size) {
  if (!config.path) return;
  Stamp stamp = stamp_now();
  const uint8_t* at = bytes;
  const uint8_t* end = bytes + size;
  size_t& kept = waiting_used[stream];
  while (at < end) {
    size_t left = static_cast<size_t>(end - at);
    size_t room = kMaxLine - kept;
    size_t window = left < room ? left : room;
    const uint8_t* newline = line_end(at, at + window);
    // A line end just behind a full line belongs to it in the reader's eyes, but Docker's copier has already split
    // there.
    size_t length = newline ? static_cast<size_t>(newline - at) : window;
    if (!newline && window < room) {
      memcpy(waiting[stream] + kept, at, window);
      kept += window;
      break;
    }
    if (kept > 0) {
      memcpy(waiting[stream] + kept, at, length);
      record(stream, waiting[stream], kept + length, newline != nullptr, stamp);
      kept = 0;
    } else {
      record(stream, at, length, newline != nullptr, stamp);
    }
    at += length + (newline ? 1 : 0);
  }
  flush();
}

void log_end(LogStream stream) {
  if (!config.path || waiting_used[stream] == 0) return;
  Stamp stamp = stamp_now();
  record(stream, waiting[stream], waiting_used[stream], false, stamp);
  waiting_used[stream] = 0;
  flush();
}

void log_close() {
  flush();
  close_fd(fd);
  // Whoever hears of the end may take the files away.
  if (config.path) compress_settle();
  config.path = nullptr;
}

uint64_t log_dropped() { return dropped; }

void log_trim() {
  if (batch_used == 0) madvise(batch, sizeof batch, MADV_DONTNEED);
  for (int stream = 0; stream < 2; ++stream) {
    if (waiting_used[stream] == 0) madvise(waiting[stream], sizeof waiting[stream], MADV_DONTNEED);
  }
}

}  // namespace shim
