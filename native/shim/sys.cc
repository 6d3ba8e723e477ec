#include "sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace shim {

void* map_pages(size_t size) {
  void* pages = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return pages == MAP_FAILED ? nullptr : pages;
}

void unmap_pages(void* pages, size_t size) {
  if (pages) munmap(pages, size);
}

namespace {
constexpr off_t kMaxNotes = 64 * 1024;

void append(const char* text, size_t size) {
  int fd = open("shim.log", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  struct stat status;
  if (fstat(fd, &status) == 0 && status.st_size < kMaxNotes) (void)!write(fd, text, size);
  close(fd);
}
}  // namespace

void note(const char* what) {
  int kept = errno;
  char line[512];
  int size = snprintf(line, sizeof line, "%lld %s\n", static_cast<long long>(time(nullptr)), what);
  append(line, size < static_cast<int>(sizeof line) ? static_cast<size_t>(size) : sizeof line - 1);
  errno = kept;
}

void note_errno(const char* what) {
  int kept = errno;
  char line[400];
  snprintf(line, sizeof line, "%s: %s", what, strerror(kept));
  note(line);
  errno = kept;
}

}  // namespace shim
