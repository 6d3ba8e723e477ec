#include "client.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "process.h"
#include "requests.h"
#include "sys.h"
#include "table.h"

namespace shim {
namespace {

constexpr uint32_t kInSize = kMaxPayload + sizeof(FrameHeader);
/// One chunk of output, which is all that is ever sent to a client that is not behind, and room for answers.
constexpr uint32_t kOutSize = 2 * kOutputChunk;
constexpr uint64_t kStallMs = 5000;
/// The kernel's share of a stream's buffer. It smooths a reader's pauses without memory of ours.
constexpr int kSocketBuffer = 512 * 1024;

Table<Client, kMaxClients> clients;
Watch listener;
uint32_t last_serial = 0;

void readable(Client& client);

void update_watch(Client& client) {
  uint32_t events = 0;
  if (!client.input_held) events |= EPOLLIN;
  if (client.out_used > 0) events |= EPOLLOUT;
  // A hang-up is reported for as long as it is registered; the rest of the input is read when the process takes it.
  if (client.peer_gone) events = 0;
  watch_set(client.watch, events);
}

/// Returns false when the client was closed.
bool flush(Client& client) {
  while (client.out_sent < client.out_used) {
    ssize_t sent = send(client.watch.fd, client.out + client.out_sent, client.out_used - client.out_sent,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) {
      update_watch(client);
      return true;
    }
    if (sent <= 0) {
      client_close(client);
      return false;
    }
    client.out_sent += static_cast<uint32_t>(sent);
    client.progress_at = monotonic_ms();
  }
  client.out_used = client.out_sent = 0;
  update_watch(client);
  if (client.process) process_readers_caught_up(*client.process);
  return true;
}

void ready(void* owner, uint32_t events) {
  Client& client = *static_cast<Client*>(owner);
  if ((events & EPOLLOUT) != 0 && client.out_used > 0 && !flush(client)) return;
  if (client.input_held) {
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
      // What was sent to it can reach nobody any more, what it sent still counts.
      client.peer_gone = true;
      client.out_used = client.out_sent = 0;
      update_watch(client);
      if (client.process) process_readers_caught_up(*client.process);
    }
    return;
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) readable(client);
}

/// Handles the whole frames that have arrived. Returns false when the client was closed.
bool consume(Client& client) {
  uint32_t at = 0;
  uint32_t serial = client.serial;
  while (!client.input_held && client.in_used - at >= sizeof(FrameHeader)) {
    FrameHeader header;
    memcpy(&header, client.in + at, sizeof header);
    if (header.size > kMaxPayload) {
      client_close(client);
      return false;
    }
    if (client.in_used - at < sizeof header + header.size) break;
    if (!client.greeted && header.type != kHello) {
      client_close(client);
      return false;
    }
    bool taken = handle_frame(client, header, client.in + at + sizeof header);
    if (client.watch.fd < 0 || client.serial != serial) return false;
    if (!taken) {
      client.input_held = true;
      break;
    }
    at += static_cast<uint32_t>(sizeof header) + header.size;
  }
  if (at > 0) {
    memmove(client.in, client.in + at, client.in_used - at);
    client.in_used -= at;
  }
  return true;
}

void readable(Client& client) {
  if (!client.in) {
    client.in = static_cast<uint8_t*>(map_pages(kInSize));
    if (!client.in) {
      client_close(client);
      return;
    }
  }
  // Bounded per round, so that one client's flood does not keep the others waiting.
  for (int round = 0; round < 4; ++round) {
    ssize_t size = recv(client.watch.fd, client.in + client.in_used, kInSize - client.in_used, MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
      client_close(client);
      return;
    }
    client.in_used += static_cast<uint32_t>(size);
    if (!consume(client)) return;
    if (client.input_held) {
      update_watch(client);
      return;
    }
  }
}

void accept_client(void*, uint32_t) {
  int fd = accept4(listener.fd, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) return;
  ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != geteuid()) {
    close(fd);
    return;
  }
  client_add(fd);
}

}  // namespace

Client* client_add(int fd) {
  Client* client = clients.take([](const Client& slot) { return slot.watch.fd < 0; });
  if (!client) {
    close(fd);
    return nullptr;
  }
  *client = Client();
  client->serial = ++last_serial;
  client->watch.fd = fd;
  client->watch.owner = client;
  client->watch.ready = ready;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
  update_watch(*client);
  return client;
}

bool clients_listen() {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // Relative to the run folder, which is the working directory: its own path may be too long for an address.
  strcpy(address.sun_path, "shim.sock");
  unlink(address.sun_path);
  mode_t before = umask(0177);
  bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && listen(fd, 64) == 0;
  umask(before);
  if (!bound) {
    close(fd);
    return false;
  }
  listener.fd = fd;
  listener.ready = accept_client;
  return watch_set(listener, EPOLLIN);
}

void clients_stop_listening() {
  if (listener.fd < 0) return;
  watch_set(listener, 0);
  close_fd(listener.fd);
  unlink("shim.sock");
}

size_t clients_count() {
  size_t count = 0;
  for (Client& client : clients) count += client.watch.fd >= 0 ? 1 : 0;
  return count;
}

Requester requester_of(const Client& client, uint32_t tag) {
  return {static_cast<uint16_t>(clients.index_of(client)), client.serial, tag};
}

Client* requester_client(const Requester& requester) {
  if (requester.slot >= clients.size()) return nullptr;
  Client& client = clients[requester.slot];
  return client.watch.fd >= 0 && client.serial == requester.serial ? &client : nullptr;
}

void client_send(Client& client, uint16_t type, uint16_t flags, uint32_t tag, const void* payload, uint32_t size) {
  if (client.peer_gone) return;
  FrameHeader header = {size, type, flags, tag};
  size_t whole = sizeof header + size;
  size_t sent = 0;
  if (client.out_used == 0) {
    iovec parts[2] = {{&header, sizeof header}, {const_cast<void*>(payload), size}};
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = size > 0 ? 2 : 1;
    ssize_t result;
    do {
      result = sendmsg(client.watch.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (result < 0 && errno == EINTR);
    if (result < 0 && errno != EAGAIN) {
      client_close(client);
      return;
    }
    sent = result > 0 ? static_cast<size_t>(result) : 0;
    if (sent == whole) return;
    client.progress_at = monotonic_ms();
  }
  if (!client.out) client.out = static_cast<uint8_t*>(map_pages(kOutSize));
  if (!client.out || client.out_used + (whole - sent) > kOutSize) {
    client_close(client);
    return;
  }
  if (sent < sizeof header) {
    memcpy(client.out + client.out_used, reinterpret_cast<uint8_t*>(&header) + sent, sizeof header - sent);
    client.out_used += static_cast<uint32_t>(sizeof header - sent);
    sent = sizeof header;
  }
  size_t skip = sent - sizeof header;
  if (size > skip) memcpy(client.out + client.out_used, static_cast<const uint8_t*>(payload) + skip, size - skip);
  client.out_used += static_cast<uint32_t>(size - skip);
  update_watch(client);
}

void client_fail(Client& client, uint32_t tag, uint32_t reason, const char* text, size_t size) {
  char payload[4096 + sizeof reason];
  if (size > 4096) size = 4096;
  memcpy(payload, &reason, sizeof reason);
  memcpy(payload + sizeof reason, text, size);
  client_send(client, kError, 0, tag, payload, static_cast<uint32_t>(sizeof reason + size));
}

void client_fail(Client& client, uint32_t tag, uint32_t reason, const char* text) {
  client_fail(client, tag, reason, text, strlen(text));
}

void client_close(Client& client) {
  if (client.watch.fd < 0) return;
  watch_set(client.watch, 0);
  close_fd(client.watch.fd);
  unmap_pages(client.in, kInSize);
  unmap_pages(client.out, kOutSize);
  client.in = client.out = nullptr;
  client.out_used = client.out_sent = 0;
  Process* process = client.process;
  client.process = nullptr;
  if (process) process_client_left(*process, client.wants);
}

void clients_output(Process& process, uint16_t stream, const uint8_t* bytes, uint32_t size) {
  for (Client& client : clients) {
    if (client.watch.fd >= 0 && client.process == &process && (client.wants & stream) != 0) {
      client_send(client, kOutput, stream, 0, bytes, size);
    }
  }
}

bool clients_behind(const Process& process) {
  for (Client& client : clients) {
    if (client.watch.fd >= 0 && client.process == &process && client.out_used > 0) return true;
  }
  return false;
}

void clients_drop_behind(Process& process) {
  for (Client& client : clients) {
    if (client.watch.fd >= 0 && client.process == &process && client.out_used > 0) client_close(client);
  }
}

void clients_end(Process& process) {
  for (Client& client : clients) {
    if (client.watch.fd < 0 || client.process != &process) continue;
    client_send(client, kEnd, 0, 0, nullptr, 0);
  }
}

void clients_broadcast(uint16_t type, uint16_t flags, const void* payload, uint32_t size) {
  for (Client& client : clients) {
    if (client.watch.fd >= 0 && client.greeted) client_send(client, type, flags, 0, payload, size);
  }
}

void clients_input_ready(Process& process) {
  for (Client& client : clients) {
    if (client.watch.fd < 0 || client.process != &process || !client.input_held) continue;
    client.input_held = false;
    update_watch(client);
    if (!consume(client)) continue;
    if (!client.input_held && client.peer_gone) readable(client);
    if (process_input_full(process)) return;
  }
}

uint64_t clients_check_progress(uint64_t now) {
  uint64_t next = 0;
  for (Client& client : clients) {
    if (client.watch.fd < 0 || client.out_used == 0) continue;
    uint64_t deadline = client.progress_at + kStallMs;
    if (deadline <= now) {
      client_close(client);
    } else if (next == 0 || deadline < next) {
      next = deadline;
    }
  }
  return next;
}

bool clients_pending() {
  for (Client& client : clients) {
    if (client.watch.fd >= 0 && client.out_used > 0) return true;
  }
  return false;
}

void clients_trim() {
  for (Client& client : clients) {
    if (client.in && client.in_used == 0) {
      unmap_pages(client.in, kInSize);
      client.in = nullptr;
    }
    if (client.out && client.out_used == 0) {
      unmap_pages(client.out, kOutSize);
      client.out = nullptr;
    }
  }
}

}  // namespace shim
