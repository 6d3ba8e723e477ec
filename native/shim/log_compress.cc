#include "log_compress.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deflate.h"
#include "sys.h"

namespace shim {
namespace {

pid_t child = -1;

bool write_all(void* owner, const uint8_t* bytes, size_t size) {
  int fd = *static_cast<int*>(owner);
  while (size > 0) {
    ssize_t written = write(fd, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

bool compress(const char* from, const char* to) {
  int source = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  struct stat status;
  if (source < 0 || fstat(source, &status) < 0) return false;
  size_t size = static_cast<size_t>(status.st_size);
  void* bytes = size > 0 ? mmap(nullptr, size, PROT_READ, MAP_PRIVATE, source, 0) : nullptr;
  auto* gzip = static_cast<Gzip*>(map_pages(sizeof(Gzip)));
  auto* table = static_cast<uint32_t*>(map_pages(Gzip::kHashSize * sizeof(uint32_t)));
  if (bytes == MAP_FAILED || !gzip || !table) return false;

  char temporary[4200];
  snprintf(temporary, sizeof temporary, "%s.tmp", to);
  int target = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
  if (target < 0) return false;
  gzip->write = write_all;
  gzip->owner = &target;
  gzip->last_seen = table;
  if (!gzip->run(static_cast<uint8_t*>(bytes), size) || fsync(target) < 0 || rename(temporary, to) < 0) {
    unlink(temporary);
    return false;
  }
  unlink(from);
  return true;
}

}  // namespace

void compress_start(const char* from, const char* to) {
  compress_settle();
  child = fork();
  if (child != 0) {
    if (child < 0) note_errno("log: compression");
    return;
  }
  // Copies of the container's streams and of clients' sockets would keep them from ending.
  close_range_from(0);
  (void)!nice(19);
  _exit(compress(from, to) ? 0 : 1);
}

void compress_settle() {
  // Somebody else may have reaped it as an orphan, which is as good.
  while (child > 0 && waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  child = -1;
}

}  // namespace shim
