#pragma once

#include "client.h"
#include "fields.h"
#include "process.h"

namespace shim {

/// The life of the container as the shim sees it. Each step happens once and in this order.
enum class TaskState : uint8_t {
  /// Nothing was asked yet.
  kIdle,
  /// The runtime's `create` runs.
  kCreating,
  /// The first process waits to be started.
  kCreated,
  kRunning,
  /// The first process is gone and its exit is on disk; its output is still read.
  kExited,
  /// Everybody was told; the runtime's `delete` runs.
  kDeleting,
  /// Nothing of the container is left; the shim ends when its clients have what was sent to them.
  kDone,
};

TaskState task_state();
void task_describe(FieldWriter& fields);

/// Each answers `client` now or later, with kOk or kError and `tag`.
void task_create(Client& client, uint32_t tag, const Fields& config);
void task_start(Client& client, uint32_t tag);
void task_exec(Client& client, uint32_t tag, const Fields& config);
/// Ends the first process whatever it does; the rest follows from its exit.
void task_delete(Client& client, uint32_t tag);

/// nullptr when there is none of this name.
Process* task_process(const char* name);

/// Events.
void task_child_ended();
void task_output_ended(Process& process);
/// Deadlines. Returns when to call again, or 0.
uint64_t task_check(uint64_t now);

}  // namespace shim
