#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "files.h"
#include "log.h"
#include "runtime.h"
#include "sys.h"
#include "task_state.h"

namespace shim {
namespace {

void close_all(int fds[3]) {
  for (int i = 0; i < 3; ++i) close_fd(fds[i]);
}

}  // namespace

void task_create(Client& client, uint32_t tag, const Fields& asked) {
  if (task.state != TaskState::kIdle) return client_fail(client, tag, kReasonConflict, "there is a container already");
  // Kept for life: paths and the log's attributes are used in place.
  char* kept = static_cast<char*>(map_pages(asked.size));
  if (!kept) return client_fail(client, tag, kReasonSystem, "out of memory");
  memcpy(kept, asked.bytes, asked.size);
  Fields config = {kept, asked.size};
  task.state_dir = config.find("stateDir");
  task.exec_fifo = config.find("execFifo");
  task.terminal = config.flag("terminal");
  if (!runtime_configure(config) || !task.state_dir) {
    return client_fail(client, tag, kReasonProtocol, "the request to create lacks something");
  }
  LogConfig log;
  log.path = config.find("logPath");
  log.max_size = config.number("logMaxSize");
  log.max_files = static_cast<unsigned>(config.number("logMaxFiles"));
  log.compress = config.flag("logCompress");
  log.attrs = config.find("logAttrs");
  char failure[256];
  if (!log_open(log)) {
    snprintf(failure, sizeof failure, "log file: %s", strerror(errno));
    return client_fail(client, tag, kReasonSystem, failure);
  }
  TaskText text;
  if (!write_task_file(0, text)) note_errno("task file");

  Process& first = first_process();
  first.stage = Stage::kMaking;
  first.requester = requester_of(client, tag);
  first.input_ends_with_client = config.flag("stdinOnce");
  first.rows = static_cast<uint16_t>(config.number("rows"));
  first.columns = static_cast<uint16_t>(config.number("columns"));
  int fds[3];
  if (!process_open(first, task.terminal, config.flag("openStdin"), fds)) {
    snprintf(failure, sizeof failure, "standard streams: %s", strerror(errno));
    first = Process();
    return client_fail(client, tag, kReasonSystem, failure);
  }
  first.runtime_pid = runtime_create(first, fds);
  int err = errno;
  close_all(fds);
  if (first.runtime_pid < 0) {
    process_close(first);
    first = Process();
    snprintf(failure, sizeof failure, "cannot execute the runtime: %s", strerror(err));
    return client_fail(client, tag, kReasonSystem, failure);
  }
  task.state = TaskState::kCreating;
}

void task_start(Client& client, uint32_t tag) {
  if (task.state == TaskState::kRunning) return client_fail(client, tag, kReasonConflict, "the container runs already");
  if (task.state != TaskState::kCreated)
    return client_fail(client, tag, kReasonConflict, "the container's process is gone");
  if (task.start_pid > 0 || task.fifo.fd >= 0)
    return client_fail(client, tag, kReasonConflict, "the container is being started");
  task.starter = requester_of(client, tag);
  if (task.exec_fifo) {
    int fd = open(task.exec_fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
      task.fifo.fd = fd;
      task.fifo.ready = fifo_ready;
      watch_set(task.fifo, EPOLLIN);
      return;
    }
    note_errno("exec fifo");
  }
  task.start_pid = runtime_start();
  if (task.start_pid < 0) answer_start(strerror(errno));
}

void task_exec(Client& client, uint32_t tag, const Fields& config) {
  const char* name = config.find("name", "");
  if (task.state != TaskState::kRunning && task.state != TaskState::kCreated) {
    return client_fail(client, tag, kReasonConflict, "the container does not run");
  }
  if (client.process) return client_fail(client, tag, kReasonProtocol, "this connection is a stream already");
  if (name[0] == '\0' || strlen(name) > kMaxExecName ||
      strspn(name, "0123456789abcdefghijklmnopqrstuvwxyz-") != strlen(name)) {
    return client_fail(client, tag, kReasonProtocol, "bad name of an exec");
  }
  if (task_process(name)) return client_fail(client, tag, kReasonConflict, "there is an exec of this name already");
  Process* slot = process_slot();
  if (!slot) return client_fail(client, tag, kReasonConflict, "too many processes were added to this container");

  snprintf(slot->name, sizeof slot->name, "%s", name);
  slot->requester = requester_of(client, tag);
  slot->input_ends_with_client = true;
  slot->rows = static_cast<uint16_t>(config.number("rows"));
  slot->columns = static_cast<uint16_t>(config.number("columns"));
  int fds[3];
  char failure[256];
  if (!process_open(*slot, config.flag("terminal"), config.flag("openStdin"), fds)) {
    snprintf(failure, sizeof failure, "standard streams: %s", strerror(errno));
    *slot = Process();
    return client_fail(client, tag, kReasonSystem, failure);
  }
  slot->stage = Stage::kMaking;
  slot->runtime_pid = runtime_exec(*slot, fds);
  int err = errno;
  close_all(fds);
  if (slot->runtime_pid < 0) {
    release_exec(*slot);
    snprintf(failure, sizeof failure, "cannot execute the runtime: %s", strerror(err));
    return client_fail(client, tag, kReasonSystem, failure);
  }
  client.process = slot;
  client.wants =
      static_cast<uint16_t>((config.flag("stdin") ? kWantStdin : 0) | (config.flag("stdout") ? kWantStdout : 0) |
                            (config.flag("stderr") ? kWantStderr : 0));
}

void task_delete(Client& client, uint32_t tag) {
  Process& first = first_process();
  task.delete_wanted = true;
  if (first.pidfd >= 0 && first.stage == Stage::kLive) {
    pidfd_send_signal(first.pidfd, SIGKILL);
  } else if (first.runtime_pid > 0) {
    // Its own cleanup is left to `delete`.
    kill(first.runtime_pid, SIGKILL);
  } else if (task.state == TaskState::kIdle) {
    task.state = TaskState::kDone;
  }
  client_send(client, kOk, 0, tag, nullptr, 0);
}

}  // namespace shim
