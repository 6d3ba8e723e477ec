#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "log.h"
#include "runtime.h"
#include "sys.h"
#include "task_state.h"

namespace shim {

Task task;

void release_exec(Process& process) {
  process_close(process);
  process = Process();
}

void answer_start(const char* failure) {
  Client* client = requester_client(task.starter);
  uint32_t tag = task.starter.tag;
  task.starter = Requester();
  if (!client) return;
  if (failure) {
    client_fail(*client, tag, kReasonRuntime, failure);
  } else {
    client_send(*client, kOk, 0, tag, nullptr, 0);
  }
}

namespace {

/// How long processes that joined the container may outlive it before the shim stops waiting for them.
constexpr uint64_t kStragglersMs = 5000;

void advance();

void answer_pid(const Requester& requester, pid_t pid) {
  Client* client = requester_client(requester);
  if (!client) return;
  uint32_t value = static_cast<uint32_t>(pid);
  client_send(*client, kOk, 0, requester.tag, &value, sizeof value);
}

/// Without a text the client gives it up: nobody could find the container again.
void answer_created(const Requester& requester, pid_t pid, const TaskText& text) {
  Client* client = requester_client(requester);
  if (!client) return;
  uint32_t value = static_cast<uint32_t>(pid);
  char payload[sizeof value + sizeof text.bytes];
  memcpy(payload, &value, sizeof value);
  memcpy(payload + sizeof value, text.bytes, text.size);
  client_send(*client, kOk, 0, requester.tag, payload, static_cast<uint32_t>(sizeof value + text.size));
}

void fail_runtime(const Requester& requester, const char* text, size_t size) {
  Client* client = requester_client(requester);
  if (client) client_fail(*client, requester.tag, kReasonRuntime, text, size);
}

bool executing_any() {
  for (Process& process : processes) {
    if (process.runtime_pid > 0) return true;
  }
  return false;
}

/// An exec's slot is free once its exit was told and its output has ended.
void release_if_over(Process& process) {
  if (is_first(process) || process.stage != Stage::kExited || !process.exit_told || !process.output_ended) return;
  Client* client = requester_client(process.requester);
  if (client && client->process == &process) client->process = nullptr;
  release_exec(process);
}

/// To everybody: whoever asked for an exec may have lost its stream and still wants to know how it ended.
void tell_exit(Process& process) {
  struct __attribute__((packed)) {
    uint32_t code;
    uint64_t at_ms;
    char name[kMaxExecName];
  } payload;
  payload.code = static_cast<uint32_t>(process.exit_code);
  payload.at_ms = process.exited_at_ms;
  size_t length = strlen(process.name);
  memcpy(payload.name, process.name, length);
  uint16_t flags = is_first(process) && task.oom_killed ? kExitOomKilled : 0;
  clients_broadcast(kExit, flags, &payload, static_cast<uint32_t>(sizeof payload - kMaxExecName + length));
  process.exit_told = true;
}

/// The runtime takes away what it keeps, once nothing can join the container or write for it any more.
void begin_delete() {
  if (task.delete_begun || !first_process().output_ended || task.start_pid > 0 || executing_any()) return;
  task.delete_begun = true;
  task.delete_pid = runtime_delete();
  if (task.delete_pid < 0) note_errno("runtime delete");
}

void first_exited() {
  Process& first = first_process();
  task.oom_killed = memory_was_exhausted();
  // It has its work to do while the disk has its own.
  if (task.fifo.fd < 0) begin_delete();
  ExitRecord record = {first.exit_code, first.exited_at_ms, task.oom_killed};
  // A disk that takes nothing must not hide the exit from a daemon that comes later.
  if (!write_exit_file(task.state_dir, record)) {
    note_errno("exit file");
    if (!write_exit_file(".", record)) note_errno("exit file in the run folder");
  }
  task.state = TaskState::kExited;
}

void on_exit(Process& process, int status) {
  process.pid = -1;
  process_exited(process, status);
  if (is_first(process)) {
    first_exited();
  } else {
    tell_exit(process);
  }
  release_if_over(process);
}

void create_ended(Process& first, int status) {
  char path[128];
  pid_file_path(first, path, sizeof path);
  pid_t pid = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? read_pid_file(path) : -1;
  unlink(path);
  if (pid > 0 && process_begin(first, pid)) {
    memory_cgroup_of(pid);
    TaskText text;
    if (!write_task_file(pid, text)) {
      note_errno("task file");
      text.size = 0;
    }
    task.state = TaskState::kCreated;
    answer_created(first.requester, pid, text);
    if (task.delete_wanted) pidfd_send_signal(first.pidfd, SIGKILL);
    return;
  }
  char words[4096];
  size_t size = process_runtime_words(first, words, sizeof words);
  if (pid > 0) {
    // The runtime believes that it has made it; the first process waits for a start that will not come.
    if (first.pidfd >= 0) pidfd_send_signal(first.pidfd, SIGKILL);
    size = static_cast<size_t>(snprintf(words, sizeof words, "the runtime sent no terminal"));
  }
  fail_runtime(first.requester, words, size);
  process_close(first);
  first.stage = Stage::kExited;
  first.exit_told = true;
  first.output_ended = true;
  task.state = TaskState::kExited;
}

void exec_ended(Process& process, int status) {
  char path[128];
  pid_file_path(process, path, sizeof path);
  pid_t pid = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? read_pid_file(path) : -1;
  unlink(path);
  if (pid > 0) {
    if (process_begin(process, pid)) {
      answer_pid(process.requester, pid);
      return;
    }
    if (process.pidfd >= 0) pidfd_send_signal(process.pidfd, SIGKILL);
  }
  char words[4096];
  size_t size = process_runtime_words(process, words, sizeof words);
  Client* client = requester_client(process.requester);
  if (client && client->process == &process) client->process = nullptr;
  fail_runtime(process.requester, words, size);
  release_exec(process);
}

void close_fifo() {
  if (task.fifo.fd < 0) return;
  watch_set(task.fifo, 0);
  close_fd(task.fifo.fd);
}

void start_ended(int status) {
  bool started = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (started && task.state == TaskState::kCreated) task.state = TaskState::kRunning;
  // The runtime's own words are in its log.
  answer_start(started ? nullptr : "");
}

/// What can follow now, follows. Called after every event.
void advance() {
  Process& first = first_process();
  if (task.state == TaskState::kExited) {
    if (task.fifo.fd >= 0) {
      // A short program may have ended before this loop came to see that it was started: its byte is still in the fifo.
      char byte;
      bool started = read(task.fifo.fd, &byte, 1) == 1;
      close_fifo();
      unlink(task.exec_fifo);
      answer_start(started ? nullptr : "the container's process ended before it was started");
    }
    if (!first.output_ended || task.start_pid > 0) return;
    if (!first.exit_told) {
      log_close();
      tell_exit(first);
    }
    if (executing_any()) return;
    begin_delete();
    task.state = TaskState::kDeleting;
    task.stragglers_until = monotonic_ms() + kStragglersMs;
  }
  if (task.state == TaskState::kDeleting && task.delete_pid < 0) {
    bool stragglers = false;
    for (Process& process : processes) stragglers |= !is_first(process) && process.stage != Stage::kFree;
    if (stragglers && monotonic_ms() < task.stragglers_until) return;
    task.state = TaskState::kDone;
  }
}

void reap(pid_t pid, int status) {
  if (pid == task.start_pid) {
    task.start_pid = -1;
    start_ended(status);
    return;
  }
  if (pid == task.delete_pid) {
    task.delete_pid = -1;
    if (status != 0) note("runtime delete failed; see delete.log");
    return;
  }
  for (Process& process : processes) {
    if (process.stage == Stage::kFree) continue;
    if (process.runtime_pid == pid) {
      process.runtime_pid = -1;
      is_first(process) ? create_ended(process, status) : exec_ended(process, status);
      return;
    }
    if (process.pid == pid) {
      on_exit(process, status);
      return;
    }
  }
}

bool reap_if_ended(pid_t pid) {
  int status;
  if (pid <= 0 || waitpid(pid, &status, WNOHANG) != pid) return false;
  reap(pid, status);
  return true;
}

bool known(pid_t pid) {
  if (pid == task.start_pid || pid == task.delete_pid) return true;
  for (Process& process : processes) {
    if (process.stage != Stage::kFree && (process.runtime_pid == pid || process.pid == pid)) return true;
  }
  return false;
}

}  // namespace

/// The first process opens the fifo for writing when it is ready, which our reading end allows; it writes one byte and
/// executes the user's program.
void fifo_ready(void*, uint32_t) {
  char bytes[64];
  ssize_t size;
  bool got = false;
  while ((size = read(task.fifo.fd, bytes, sizeof bytes)) > 0) got = true;
  if (!got && size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  close_fifo();
  unlink(task.exec_fifo);
  if (task.state == TaskState::kCreated) task.state = TaskState::kRunning;
  answer_start(nullptr);
}

TaskState task_state() { return task.state; }

void task_describe(FieldWriter& fields) {
  static const char* const names[] = {"idle", "creating", "created", "running", "exited", "deleting", "done"};
  const Process& first = first_process();
  fields.add("state", names[static_cast<int>(task.state)]);
  if (runtime_container_id()) fields.add("id", runtime_container_id());
  fields.add("pid", static_cast<uint64_t>(first.pid > 0 ? first.pid : 0));
  fields.add("terminal", static_cast<uint64_t>(task.terminal));
  fields.add("dropped", log_dropped());
  if (task.state >= TaskState::kExited && first.exited_at_ms > 0) {
    fields.add("code", static_cast<uint64_t>(first.exit_code));
    fields.add("at", first.exited_at_ms);
    fields.add("oom", static_cast<uint64_t>(task.oom_killed));
    fields.add("told", static_cast<uint64_t>(first.exit_told));
  }
}

Process* task_process(const char* name) {
  for (Process& process : processes) {
    if (process.stage != Stage::kFree && strcmp(process.name, name) == 0) return &process;
  }
  return nullptr;
}

void task_child_ended() {
  // A runtime's end comes first: only its pid file says which child is the process it has made, and that one may be
  // dead already.
  reap_if_ended(task.start_pid);
  reap_if_ended(task.delete_pid);
  for (Process& process : processes) {
    if (process.stage != Stage::kFree) reap_if_ended(process.runtime_pid);
  }
  for (Process& process : processes) {
    if (process.stage != Stage::kFree) reap_if_ended(process.pid);
  }
  // Orphans of the container that the kernel gave to us. While a runtime is at work one of them may be what it makes.
  while (!executing_any()) {
    siginfo_t info = {};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0) break;
    int status;
    if (known(info.si_pid)) {
      reap_if_ended(info.si_pid);
    } else {
      waitpid(info.si_pid, &status, WNOHANG);
    }
  }
  advance();
}

void task_output_ended(Process& process) { release_if_over(process); }

uint64_t task_check(uint64_t now) {
  uint64_t next = 0;
  auto earlier = [&](uint64_t when) {
    if (when > 0 && (next == 0 || when < next)) next = when;
  };
  for (Process& process : processes) {
    if (process.stage == Stage::kExited) earlier(process_check(process, now));
  }
  advance();
  if (task.state == TaskState::kDeleting) earlier(task.stragglers_until);
  return next;
}

}  // namespace shim
