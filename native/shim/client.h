#pragma once

#include <stddef.h>
#include <stdint.h>

#include "loop.h"
#include "protocol.h"

namespace shim {

struct Process;

constexpr size_t kMaxClients = 256;

/// One connection. It asks and is answered; after attach or exec it is also one process' stream.
struct Client {
  Watch watch;
  /// Differs between two users of one slot, so that an answer that comes late does not reach a stranger.
  uint32_t serial = 0;
  bool greeted = false;
  /// The stream's process, and which of its streams.
  Process* process = nullptr;
  uint16_t wants = 0;
  /// A frame of input waits until the process takes it; nothing more is read from this client.
  bool input_held = false;
  /// The peer hung up while its last input waits.
  bool peer_gone = false;

  uint8_t* in = nullptr;
  uint32_t in_used = 0;
  uint8_t* out = nullptr;
  uint32_t out_used = 0;
  uint32_t out_sent = 0;
  /// When the peer last took a byte, while something waits for it; monotonic.
  uint64_t progress_at = 0;
};

/// Who asked, to be answered later.
struct Requester {
  uint16_t slot = UINT16_MAX;
  uint32_t serial = 0;
  uint32_t tag = 0;
};

/// Serves the connection; takes the descriptor. nullptr when there are too many.
Client* client_add(int fd);
/// Listens on shim.sock in the run folder.
bool clients_listen();
void clients_stop_listening();
size_t clients_count();

Requester requester_of(const Client& client, uint32_t tag);
/// nullptr when it left.
Client* requester_client(const Requester& requester);

/// Sends, or keeps what the peer does not take now. A client that leaves meanwhile is closed; look it up again.
void client_send(Client& client, uint16_t type, uint16_t flags, uint32_t tag, const void* payload, uint32_t size);
void client_fail(Client& client, uint32_t tag, uint32_t reason, const char* text, size_t size);
void client_fail(Client& client, uint32_t tag, uint32_t reason, const char* text);
void client_close(Client& client);

/// To all that stream this process.
void clients_output(Process& process, uint16_t stream, const uint8_t* bytes, uint32_t size);
/// Whether one of them has not taken what it was sent.
bool clients_behind(const Process& process);
/// Closes those that are behind.
void clients_drop_behind(Process& process);
/// The output ended: tells them and lets them be ordinary clients.
void clients_end(Process& process);
/// To all that greeted.
void clients_broadcast(uint16_t type, uint16_t flags, const void* payload, uint32_t size);
/// The process takes input again.
void clients_input_ready(Process& process);

/// Closes streams whose reader stands still. Returns when to call again, or 0.
uint64_t clients_check_progress(uint64_t now);
/// Whether somebody has not yet taken all that was sent to it.
bool clients_pending();
/// Gives back buffers that are empty.
void clients_trim();

}  // namespace shim
