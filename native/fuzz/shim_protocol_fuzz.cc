// The shim's end of its socket: a client that sends any bytes in any pieces gets frames of the protocol or is closed,
// and its place is free afterwards. What the frames ask for is played by the stand-ins below; the shim's sources that
// read and answer frames are compiled here as they are.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "fields.h"
#include "task.h"

namespace shim {

Table<Process, kMaxProcesses> processes;

namespace {
bool created = false;

void settle(Client& client, uint32_t tag, const Fields& fields) {
  // Every value that the real ones look for, so that looking is fuzzed too.
  std::size_t total = 0;
  for (const char* key : {"id", "bundle", "stateDir", "runtime", "argument", "root", "execFifo", "logPath", "name"}) {
    if (const char* value = fields.find(key)) total += std::strlen(value);
  }
  for (const char* key : {"terminal", "openStdin", "rows", "columns", "logMaxSize"}) total += fields.number(key) % 2;
  if (total == 0) return client_fail(client, tag, kReasonProtocol, "the request lacks something");
  uint32_t pid = 1;
  client_send(client, kOk, 0, tag, &pid, sizeof pid);
}
}  // namespace

void task_describe(FieldWriter& fields) {
  fields.add("state", "running");
  fields.add("pid", uint64_t{1});
}
void task_create(Client& client, uint32_t tag, const Fields& config) {
  if (created) return client_fail(client, tag, kReasonConflict, "there is a container already");
  created = true;
  first_process().stage = Stage::kLive;
  settle(client, tag, config);
}
void task_start(Client& client, uint32_t tag) { client_send(client, kOk, 0, tag, nullptr, 0); }
void task_exec(Client& client, uint32_t tag, const Fields& config) { settle(client, tag, config); }
void task_delete(Client& client, uint32_t tag) { client_send(client, kOk, 0, tag, nullptr, 0); }
Process* task_process(const char* name) { return name[0] == 'x' ? nullptr : &first_process(); }
bool process_resize(Process&, uint16_t rows, uint16_t) { return rows != 0; }
void process_input(Process& process, const uint8_t* bytes, uint32_t size) {
  // Touched, so that a payload beyond the client's buffer is seen.
  uint32_t sum = 0;
  for (uint32_t i = 0; i < size; ++i) sum += bytes[i];
  process.input_used = size;
  process.input_sent = sum % 2;
}
void process_close_input(Process& process) { process.input_ends = true; }
void process_readers_caught_up(Process&) {}
void process_client_left(Process&, uint16_t) {}

}  // namespace shim

namespace {

using namespace shim;

/// What the client was sent must be whole frames.
void drain(int fd, std::vector<uint8_t>& from_shim) {
  uint8_t chunk[4096];
  for (ssize_t n; (n = recv(fd, chunk, sizeof chunk, MSG_DONTWAIT)) > 0;)
    from_shim.insert(from_shim.end(), chunk, chunk + n);
}

void check_frames(const std::vector<uint8_t>& bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    FrameHeader header;
    if (bytes.size() - at < sizeof header) __builtin_trap();
    std::memcpy(&header, bytes.data() + at, sizeof header);
    if (header.size > kMaxPayload || header.type < kOk || header.type > kExit) __builtin_trap();
    at += sizeof header + header.size;
    if (at > bytes.size()) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static bool open = loop_open();
  if (!open) return 0;
  *processes.take([](const Process&) { return true; }) = Process();
  created = false;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return 0;
  client_add(ends[0]);
  std::vector<uint8_t> answers;
  // Each piece begins with a byte that gives its length.
  while (size > 0) {
    std::size_t piece = std::min<std::size_t>(1u + data[0] * 4u, size - 1);
    ++data;
    --size;
    if (send(ends[1], data, piece, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) break;
    data += piece;
    size -= piece;
    loop_turn(0);
    drain(ends[1], answers);
    if (first_process().input_used > 0) {
      first_process().input_used = 0;
      clients_input_ready(first_process());
    }
  }
  shutdown(ends[1], SHUT_WR);
  for (int turn = 0; turn < 200 && clients_count() > 0; ++turn) {
    loop_turn(0);
    drain(ends[1], answers);
    if (first_process().input_used > 0) {
      first_process().input_used = 0;
      clients_input_ready(first_process());
    }
  }
  drain(ends[1], answers);
  close(ends[1]);
  check_frames(answers);
  if (clients_count() != 0) __builtin_trap();
  clients_trim();
  return 0;
}
