#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "sys.h"
#include "task.h"

namespace shim {

Table<Process, kMaxProcesses> processes;

Process* process_slot() {
  return processes.take([](const Process& slot) { return slot.stage == Stage::kFree; });
}

namespace {

/// As long as Docker waits for output that somebody other than the process holds open.
constexpr uint64_t kDrainMs = 2000;
/// And with readers who are slow but do read.
constexpr uint64_t kDrainLimitMs = 10000;
/// A reader that was behind so recently is still what the output waits for.
constexpr uint64_t kReaderPauseMs = 1000;

/// What the pipe of a process that writes more than its reader takes at once grows to: fewer wake-ups for the same
/// bytes. Its pages count in the container's memory while they are full, so it stays small.
constexpr int kBusyPipe = 256 * 1024;

alignas(4096) uint8_t chunk[kOutputChunk];

void set_reading(Process& process) {
  bool want = process.reading;
  watch_set(process.err, want ? EPOLLIN : 0);
  // A terminal's one descriptor also takes input.
  uint32_t events = want ? EPOLLIN : 0u;
  if (process.terminal && process.input_used > 0) events |= EPOLLOUT;
  watch_set(process.out, events);
}

void close_watch(Watch& watch) {
  if (watch.fd < 0) return;
  watch_set(watch, 0);
  close_fd(watch.fd);
}

void output_ended(Process& process) {
  process.output_ended = true;
  if (is_first(process)) {
    log_end(kLogStdout);
    log_end(kLogStderr);
  }
  clients_end(process);
  task_output_ended(process);
}

/// Returns false at the end of the stream.
bool read_once(Process& process, Watch& watch, uint16_t stream, bool* empty) {
  *empty = false;
  ssize_t size = read(watch.fd, chunk, sizeof chunk);
  if (size < 0 && errno == EINTR) return true;
  if (size < 0 && errno == EAGAIN) {
    *empty = true;
    return true;
  }
  if (size == sizeof chunk && (process.grown & stream) == 0) {
    process.grown |= stream;
    // Not possible for a terminal, nor past the user's share of pipe memory: then it stays as it is.
    fcntl(watch.fd, F_SETPIPE_SZ, kBusyPipe);
  }
  // EIO: the last descriptor of the terminal's other side was closed.
  if (size <= 0) return false;
  if (is_first(process)) log_write(stream == kWantStdout ? kLogStdout : kLogStderr, chunk, static_cast<size_t>(size));
  clients_output(process, stream, chunk, static_cast<uint32_t>(size));
  return true;
}

void end_stream(Process& process, Watch& watch) {
  close_watch(watch);
  if (process.out.fd < 0 && process.err.fd < 0 && !process.output_ended) output_ended(process);
}

void pump(Process& process, Watch& watch, uint16_t stream) {
  for (int round = 0; round < 4; ++round) {
    if (clients_behind(process)) {
      process.reading = false;
      process.behind_at = monotonic_ms();
      set_reading(process);
      return;
    }
    bool empty;
    if (!read_once(process, watch, stream, &empty)) {
      end_stream(process, watch);
      return;
    }
    if (empty) return;
  }
}

void drop_input(Process& process) {
  process.input_used = process.input_sent = 0;
  if (process.in.fd >= 0) close_watch(process.in);
}

void write_input(Process& process) {
  int fd = process.terminal ? process.out.fd : process.in.fd;
  while (process.input_sent < process.input_used) {
    ssize_t size = fd < 0 ? -1 : write(fd, process.input + process.input_sent, process.input_used - process.input_sent);
    if (size < 0 && fd >= 0 && errno == EINTR) continue;
    if (size < 0 && fd >= 0 && errno == EAGAIN) {
      if (process.terminal) {
        set_reading(process);
      } else {
        watch_set(process.in, EPOLLOUT);
      }
      return;
    }
    if (size < 0) {
      // Nobody reads any more: dropped, as a pipe would.
      drop_input(process);
      break;
    }
    process.input_sent += static_cast<uint32_t>(size);
  }
  process.input_used = process.input_sent = 0;
  if (process.terminal) {
    set_reading(process);
  } else if (process.input_ends) {
    close_watch(process.in);
  } else {
    watch_set(process.in, 0);
  }
  clients_input_ready(process);
}

void ready_out(void* owner, uint32_t events) {
  Process& process = *static_cast<Process*>(owner);
  if ((events & EPOLLOUT) != 0 && process.input_used > 0) write_input(process);
  if (process.out.fd >= 0 && process.reading && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    pump(process, process.out, kWantStdout);
  }
}

void ready_err(void* owner, uint32_t) {
  Process& process = *static_cast<Process*>(owner);
  if (process.reading) pump(process, process.err, kWantStderr);
}

void ready_in(void* owner, uint32_t) { write_input(*static_cast<Process*>(owner)); }

void own(Watch& watch, Process& process, int fd, void (*ready)(void*, uint32_t)) {
  watch.fd = fd;
  watch.owner = &process;
  watch.ready = ready;
  watch.events = 0;
  set_nonblocking(fd);
}

}  // namespace

bool process_open(Process& process, bool terminal, bool open_stdin, int child_fds[3]) {
  child_fds[0] = child_fds[1] = child_fds[2] = -1;
  process.terminal = terminal;
  int ends[2];
  if (terminal) {
    char name[96];
    snprintf(name, sizeof name, "%s.sock", process.name[0] != '\0' ? process.name : "console");
    process.console.rows = process.rows;
    process.console.columns = process.columns;
    if (!console_open(process.console, name)) return false;
    if (pipe2(ends, O_CLOEXEC) < 0) {
      console_close(process.console);
      return false;
    }
    process.runtime_output = ends[0];
    set_nonblocking(ends[0]);
    child_fds[2] = ends[1];
    return true;
  }
  if (open_stdin) {
    if (pipe2(ends, O_CLOEXEC) < 0) return false;
    child_fds[0] = ends[0];
    own(process.in, process, ends[1], ready_in);
  }
  Watch* outputs[2] = {&process.out, &process.err};
  for (int i = 0; i < 2; ++i) {
    if (pipe2(ends, O_CLOEXEC) < 0) {
      process_close(process);
      for (int j = 0; j < 3; ++j) close_fd(child_fds[j]);
      return false;
    }
    own(*outputs[i], process, ends[0], i == 0 ? ready_out : ready_err);
    child_fds[i + 1] = ends[1];
  }
  return true;
}

bool process_begin(Process& process, pid_t pid) {
  process.pid = pid;
  process.pidfd = pidfd_open(pid);
  if (process.terminal) {
    console_settle(process.console);
    console_close(process.console);
    close_fd(process.runtime_output);
    if (process.console.master < 0) return false;
    own(process.out, process, process.console.master, ready_out);
    process.console.master = -1;
    if (process.rows > 0 || process.columns > 0) process_resize(process, process.rows, process.columns);
  }
  process.stage = Stage::kLive;
  process.reading = true;
  set_reading(process);
  if (process.input_used > 0) write_input(process);
  return true;
}

size_t process_runtime_words(Process& process, char* to, size_t size) {
  int fds[3] = {process.runtime_output, process.err.fd, process.out.fd};
  for (int fd : fds) {
    if (fd < 0) continue;
    ssize_t count = read(fd, to, size);
    if (count > 0) return static_cast<size_t>(count);
  }
  return 0;
}

void process_close(Process& process) {
  console_close(process.console);
  close_fd(process.console.master);
  close_fd(process.runtime_output);
  close_watch(process.out);
  close_watch(process.err);
  close_watch(process.in);
  close_fd(process.pidfd);
  unmap_pages(process.input, kMaxStdinPayload);
  process.input = nullptr;
  process.input_used = process.input_sent = 0;
}

void process_exited(Process& process, int wait_status) {
  process.stage = Stage::kExited;
  process.exit_code = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  process.exited_at_ms = static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
  uint64_t monotonic = monotonic_ms();
  process.drain_until = monotonic + kDrainMs;
  process.drain_limit = monotonic + kDrainLimitMs;
  // Whoever still writes to it must not be held by a reader that is gone.
  drop_input(process);
  clients_input_ready(process);
}

uint64_t process_check(Process& process, uint64_t now) {
  if (process.stage != Stage::kExited || process.output_ended) return 0;
  if (now < process.drain_until) return process.drain_until;
  bool waited_for = clients_behind(process) || now < process.behind_at + kReaderPauseMs;
  if (waited_for && now < process.drain_limit) return now + 100;
  // What is in the pipes now is still the process' own; what somebody else writes later is not.
  clients_drop_behind(process);
  Watch* outputs[2] = {&process.out, &process.err};
  for (int i = 0; i < 2; ++i) {
    bool empty = false;
    for (int round = 0; round < 64 && outputs[i]->fd >= 0 && !empty; ++round) {
      if (!read_once(process, *outputs[i], i == 0 ? kWantStdout : kWantStderr, &empty)) break;
      clients_drop_behind(process);
    }
    close_watch(*outputs[i]);
  }
  if (!process.output_ended) output_ended(process);
  return 0;
}

void process_input(Process& process, const uint8_t* bytes, uint32_t size) {
  bool open = process.terminal ? process.out.fd >= 0 || process.stage == Stage::kMaking : process.in.fd >= 0;
  if (!open || process.input_ends || process.stage == Stage::kExited || size == 0) return;
  if (!process.input) process.input = static_cast<uint8_t*>(map_pages(kMaxStdinPayload));
  if (!process.input) return;
  memcpy(process.input, bytes, size);
  process.input_used = size;
  process.input_sent = 0;
  if (process.stage == Stage::kLive) write_input(process);
}

void process_close_input(Process& process) {
  // A terminal has no end of input; the client types its end-of-file character.
  if (process.terminal) return;
  process.input_ends = true;
  if (process.input_used == 0) close_watch(process.in);
}

bool process_resize(Process& process, uint16_t rows, uint16_t columns) {
  process.rows = rows;
  process.columns = columns;
  if (!process.terminal) return false;
  if (process.out.fd < 0) return process.stage == Stage::kMaking;
  winsize size = {rows, columns, 0, 0};
  return ioctl(process.out.fd, TIOCSWINSZ, &size) == 0;
}

void process_readers_caught_up(Process& process) {
  if (process.reading || process.stage < Stage::kLive || clients_behind(process)) return;
  process.reading = true;
  set_reading(process);
}

void process_client_left(Process& process, uint16_t wants) {
  if ((wants & kWantStdin) != 0 && process.input_ends_with_client) process_close_input(process);
  process_readers_caught_up(process);
}

void process_trim() {
  madvise(chunk, sizeof chunk, MADV_DONTNEED);
  for (Process& process : processes) {
    if (process.stage == Stage::kFree || !process.input || process.input_used > 0) continue;
    unmap_pages(process.input, kMaxStdinPayload);
    process.input = nullptr;
  }
}

}  // namespace shim
