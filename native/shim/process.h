#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "client.h"
#include "console.h"
#include "loop.h"
#include "table.h"

namespace shim {

constexpr size_t kMaxProcesses = 256;
constexpr size_t kMaxExecName = 72;

enum class Stage : uint8_t {
  kFree,
  /// The OCI runtime is making it.
  kMaking,
  kLive,
  kExited,
};

/// The container's first process, or one that joined it, with its ends of stdio.
struct Process {
  Stage stage = Stage::kFree;
  /// '' for the first process.
  char name[kMaxExecName + 1] = {};
  bool terminal = false;
  /// The end of a client's input ends the process' input.
  bool input_ends_with_client = false;

  /// The runtime that makes it, and what it prints when it does not share the process' own pipes.
  pid_t runtime_pid = -1;
  int runtime_output = -1;
  Requester requester;
  Console console;
  uint16_t rows = 0;
  uint16_t columns = 0;

  pid_t pid = -1;
  int pidfd = -1;
  int exit_code = 0;
  /// Wall clock.
  uint64_t exited_at_ms = 0;
  bool exit_told = false;

  /// Read end of the output; of a terminal, both directions.
  Watch out;
  Watch err;
  /// Streams whose pipe was made larger, as kWant bits.
  uint16_t grown = 0;
  /// Write end of the input pipe.
  Watch in;
  uint8_t* input = nullptr;
  uint32_t input_used = 0;
  uint32_t input_sent = 0;
  bool input_ends = false;
  bool reading = false;
  bool output_ended = false;
  /// After the exit: when output that a grandchild holds open is given up. Monotonic; 0 for not yet.
  uint64_t drain_until = 0;
  uint64_t drain_limit = 0;
  /// When a reader last kept output waiting; monotonic.
  uint64_t behind_at = 0;
};

/// The table; the first is the container's first process.
extern Table<Process, kMaxProcesses> processes;
inline Process& first_process() { return processes[0]; }
inline bool is_first(const Process& process) { return processes.index_of(process) == 0; }
/// A free slot, or nullptr.
Process* process_slot();

/// Makes pipes or a console socket. `child_fds` are the runtime's stdio; the caller closes them (where not -1) after
/// the spawn. On failure nothing is left and errno is set.
bool process_open(Process& process, bool terminal, bool open_stdin, int child_fds[3]);
/// The runtime made it: output is read from now on. False when the terminal never came.
bool process_begin(Process& process, pid_t pid);
/// What a failed runtime printed.
size_t process_runtime_words(Process& process, char* to, size_t size);
/// Ends everything that is open.
void process_close(Process& process);
/// It was reaped: output is read to its end, or to a limit when others hold it open.
void process_exited(Process& process, int wait_status);
/// Looks at deadlines. Returns when to call again, or 0.
uint64_t process_check(Process& process, uint64_t now);

/// Whether input waits to be taken.
inline bool process_input_full(const Process& process) { return process.input_used > 0; }
/// Only when not full. At most kMaxStdinPayload.
void process_input(Process& process, const uint8_t* bytes, uint32_t size);
/// Ends the input after what waits was taken.
void process_close_input(Process& process);
bool process_resize(Process& process, uint16_t rows, uint16_t columns);

void process_readers_caught_up(Process& process);
void process_client_left(Process& process, uint16_t wants);
void process_trim();

}  // namespace shim
