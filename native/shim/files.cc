#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sys.h"

namespace shim {
namespace {

char events_path[4200];
uint64_t kills_before = 0;

ssize_t read_file(const char* path, char* to, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t used = 0;
  while (used < size - 1) {
    ssize_t count = read(fd, to + used, size - 1 - used);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    used += static_cast<size_t>(count);
  }
  close(fd);
  to[used] = '\0';
  return static_cast<ssize_t>(used);
}

/// Whoever reads meanwhile sees the old content or the new one. On disk when it returns, if `durable`: the file is
/// synced under its last name, so that the journal is written once and the folder's own sync finds nothing left to do.
bool replace_file(int directory, const char* name, const char* text, size_t size, bool durable) {
  char temporary[64];
  snprintf(temporary, sizeof temporary, ".%s.%d", name, getpid());
  int fd = openat(directory, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return false;
  bool renamed =
      write(fd, text, size) == static_cast<ssize_t>(size) && renameat(directory, temporary, directory, name) == 0;
  bool done = renamed && (!durable || (fsync(fd) == 0 && fsync(directory) == 0));
  close(fd);
  // What may not be on disk must not be read as if it were.
  if (!done) unlinkat(directory, renamed ? name : temporary, 0);
  return done;
}

uint64_t start_time(pid_t pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  if (read_file(path, text, sizeof text) <= 0) return 0;
  // The program's name may itself hold blanks and parentheses.
  const char* at = strrchr(text, ')');
  for (int field = 2; at && field < 22; ++field) at = strchr(at + 1, ' ');
  return at ? strtoull(at + 1, nullptr, 10) : 0;
}

uint64_t count_kills() {
  char text[4096];
  if (events_path[0] == '\0' || read_file(events_path, text, sizeof text) <= 0) return 0;
  const char* at = strstr(text, "oom_kill ");
  return at ? strtoull(at + strlen("oom_kill "), nullptr, 10) : 0;
}

}  // namespace

bool write_exit_file(const char* directory, const ExitRecord& exit) {
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[160];
  int size = snprintf(text, sizeof text, "{\"version\":1,\"code\":%d,\"at\":%llu,\"oomKilled\":%s}\n", exit.code,
                      static_cast<unsigned long long>(exit.at_ms), exit.oom_killed ? "true" : "false");
  bool written = replace_file(fd, "exit.json", text, static_cast<size_t>(size), true);
  close(fd);
  return written;
}

bool write_task_file(pid_t pid, TaskText& text) {
  static char boot[64] = {};
  static uint64_t own_start = 0;
  if (own_start == 0) {
    read_file("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    boot[strcspn(boot, "\n")] = '\0';
    own_start = start_time(getpid());
  }
  text.size = static_cast<size_t>(snprintf(
      text.bytes, sizeof text.bytes,
      "{\"version\":1,\"boot\":\"%s\",\"shim\":%d,\"shimStart\":%llu,\"pid\":%d,\"start\":%llu}\n", boot, getpid(),
      static_cast<unsigned long long>(own_start), pid, static_cast<unsigned long long>(pid > 0 ? start_time(pid) : 0)));
  return replace_file(AT_FDCWD, "task.json", text.bytes, text.size, false);
}

pid_t read_pid_file(const char* path) {
  char text[32];
  if (read_file(path, text, sizeof text) <= 0) return -1;
  long pid = strtol(text, nullptr, 10);
  return pid > 1 && pid <= 1 << 22 ? static_cast<pid_t>(pid) : -1;
}

void memory_cgroup_of(pid_t pid) {
  char path[64], text[8192];
  events_path[0] = '\0';
  snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
  if (read_file(path, text, sizeof text) <= 0) return;
  const char* unified = nullptr;
  const char* memory = nullptr;
  for (char* line = strtok(text, "\n"); line; line = strtok(nullptr, "\n")) {
    if (strncmp(line, "0::", 3) == 0) unified = line + 3;
    const char* controllers = strchr(line, ':');
    const char* folder = controllers ? strchr(controllers + 1, ':') : nullptr;
    if (!folder) continue;
    for (const char* at = controllers + 1; at < folder; at += strcspn(at, ",:") + 1) {
      if (strncmp(at, "memory", 6) == 0 && (at[6] == ',' || at[6] == ':')) memory = folder + 1;
    }
  }
  // Where the old hierarchy has the memory controller, the new one's folder knows nothing of memory.
  if (memory) {
    snprintf(events_path, sizeof events_path, "/sys/fs/cgroup/memory%s/memory.oom_control", memory);
  } else if (unified) {
    snprintf(events_path, sizeof events_path, "/sys/fs/cgroup%s/memory.events", unified);
  }
  kills_before = count_kills();
}

bool memory_was_exhausted() { return count_kills() > kills_before; }

}  // namespace shim
