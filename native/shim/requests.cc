#include "requests.h"

#include <errno.h>
#include <string.h>

#include "sys.h"
#include "task.h"

namespace shim {
namespace {

void hello(Client& client, const FrameHeader& header, const uint8_t* payload) {
  uint32_t version = 0;
  if (header.size >= sizeof version) memcpy(&version, payload, sizeof version);
  // A later daemon is told what is spoken here and keeps to it; containers outlive upgrades.
  if (version == 0) {
    client_fail(client, header.tag, kReasonProtocol, "not a version of the shim's protocol");
    client_close(client);
    return;
  }
  client.greeted = true;
  uint32_t own = kProtocolVersion;
  client_send(client, kOk, 0, header.tag, &own, sizeof own);
}

void describe(Client& client, uint32_t tag) {
  FieldWriter fields;
  task_describe(fields);
  client_send(client, kOk, 0, tag, fields.bytes, static_cast<uint32_t>(fields.used));
}

void attach(Client& client, const FrameHeader& header) {
  Process& first = first_process();
  if (client.process) return client_fail(client, header.tag, kReasonProtocol, "this connection is a stream already");
  if (first.stage == Stage::kFree) return client_fail(client, header.tag, kReasonConflict, "there is no process yet");
  // Late for a process whose output has ended: the answer and the end come at once.
  client_send(client, kOk, 0, header.tag, nullptr, 0);
  if (first.output_ended) {
    client_send(client, kEnd, 0, 0, nullptr, 0);
    return;
  }
  client.process = &first;
  client.wants = header.flags & (kWantStdin | kWantStdout | kWantStderr);
}

/// The process that a request names after `fixed` bytes; nullptr after an answer.
Process* named(Client& client, const FrameHeader& header, const uint8_t* payload, uint32_t fixed) {
  char name[kMaxExecName + 1] = {};
  if (header.size < fixed || header.size - fixed > kMaxExecName) {
    client_fail(client, header.tag, kReasonProtocol, "bad request");
    return nullptr;
  }
  memcpy(name, payload + fixed, header.size - fixed);
  Process* process = task_process(name);
  if (!process || process->stage == Stage::kExited) {
    client_fail(client, header.tag, kReasonNotFound, "no such process");
    return nullptr;
  }
  return process;
}

void resize(Client& client, const FrameHeader& header, const uint8_t* payload) {
  uint16_t size[2];
  Process* process = named(client, header, payload, sizeof size);
  if (!process) return;
  memcpy(size, payload, sizeof size);
  if (!process_resize(*process, size[0], size[1])) {
    return client_fail(client, header.tag, kReasonConflict, "the process has no terminal");
  }
  client_send(client, kOk, 0, header.tag, nullptr, 0);
}

void send_signal(Client& client, const FrameHeader& header, const uint8_t* payload) {
  uint32_t signal;
  Process* process = named(client, header, payload, sizeof signal);
  if (!process) return;
  memcpy(&signal, payload, sizeof signal);
  if (process->pidfd < 0) return client_fail(client, header.tag, kReasonNotFound, "no such process");
  if (pidfd_send_signal(process->pidfd, static_cast<int>(signal)) < 0) {
    uint32_t reason = errno == ESRCH ? kReasonNotFound : errno == EINVAL ? kReasonProtocol : kReasonSystem;
    return client_fail(client, header.tag, reason, strerror(errno));
  }
  client_send(client, kOk, 0, header.tag, nullptr, 0);
}

}  // namespace

bool handle_frame(Client& client, const FrameHeader& header, const uint8_t* payload) {
  Fields fields = {reinterpret_cast<const char*>(payload), header.size};
  switch (header.type) {
    case kHello:
      hello(client, header, payload);
      return true;
    case kState:
      describe(client, header.tag);
      return true;
    case kCreate:
    case kExec:
      if (!fields.well_formed()) {
        client_fail(client, header.tag, kReasonProtocol, "bad request");
      } else if (header.type == kCreate) {
        task_create(client, header.tag, fields);
      } else {
        task_exec(client, header.tag, fields);
      }
      return true;
    case kStart:
      task_start(client, header.tag);
      return true;
    case kAttach:
      attach(client, header);
      return true;
    case kStdin:
      if (header.size > kMaxStdinPayload) {
        client_close(client);
        return true;
      }
      if (!client.process || (client.wants & kWantStdin) == 0) return true;
      if (process_input_full(*client.process)) return false;
      process_input(*client.process, payload, header.size);
      return true;
    case kCloseStdin:
      if (!client.process || (client.wants & kWantStdin) == 0) return true;
      if (process_input_full(*client.process)) return false;
      if (client.process->input_ends_with_client) process_close_input(*client.process);
      return true;
    case kResize:
      resize(client, header, payload);
      return true;
    case kKill:
      send_signal(client, header, payload);
      return true;
    case kDelete:
      task_delete(client, header.tag);
      return true;
    default:
      client_fail(client, header.tag, kReasonProtocol, "no such request");
      return true;
  }
}

}  // namespace shim
