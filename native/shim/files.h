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

/// Replaces DIRECTORY/exit.json so that after a power cut it holds all or nothing.
bool write_exit_file(const char* directory, const ExitRecord& exit);
/// Replaces task.json in the run folder: who the shim and the first process are, so that the kernel can be asked about
/// them when the shim does not answer. `pid` 0: there is none yet.
bool write_task_file(pid_t pid);
/// The number in a pid file, or -1.
pid_t read_pid_file(const char* path);

/// Remembers the process' memory cgroup, to be called while it lives.
void memory_cgroup_of(pid_t pid);
/// Whether the kernel killed something in it for lack of memory since then. Must be asked before the cgroup is removed.
bool memory_was_exhausted();

}  // namespace shim
