#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

namespace shim {

/// How the first process ended.
struct ExitRecord {
  int code;
  uint64_t at_ms;
  bool oom_killed;
};

/// Writes DIRECTORY/exit.json, which is not there yet. When it returns it is on disk; after a power cut before that a
/// reader finds nothing, or nothing that it understands.
bool write_exit_file(const char* directory, const ExitRecord& exit);
/// What task.json holds.
struct TaskText {
  char bytes[256];
  size_t size;
};
/// Replaces task.json in the run folder: who the shim and the first process are, so that the kernel can be asked about
/// them when the shim does not answer. `pid` 0: there is none yet.
bool write_task_file(pid_t pid, TaskText& text);
/// The number in a pid file, or -1.
pid_t read_pid_file(const char* path);

/// Remembers the process' memory cgroup, to be called while it lives.
void memory_cgroup_of(pid_t pid);
/// Whether the kernel killed something in it for lack of memory since then. Must be asked before the cgroup is removed.
bool memory_was_exhausted();

}  // namespace shim
