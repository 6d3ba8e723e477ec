#pragma once

#include "loop.h"
#include "task.h"

/// Shared by task.cc, where things happen, and task_requests.cc, where they are asked for; nobody else's.
namespace shim {

struct Task {
  TaskState state = TaskState::kIdle;
  const char* state_dir = nullptr;
  const char* exec_fifo = nullptr;
  bool terminal = false;
  bool oom_killed = false;
  bool delete_wanted = false;

  /// Whoever waits for start's answer; slot UINT16_MAX when none.
  Requester starter;
  pid_t start_pid = -1;
  Watch fifo;

  /// The runtime was asked to delete, and while it is at it.
  bool delete_begun = false;
  pid_t delete_pid = -1;
  uint64_t stragglers_until = 0;
};

extern Task task;

/// Frees the slot of a process that joined, with all that is open.
void release_exec(Process& process);
/// Settles the request to start; nullptr is success.
void answer_start(const char* failure);
/// The first process is ready, or is gone.
void fifo_ready(void*, uint32_t);

}  // namespace shim
