#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <unordered_map>

#include "gantry/error.h"
#include "port.h"

namespace gantry::proxy {

namespace {

constexpr int kBacklog = 4'096;
/// Connections beyond wait in the kernel until others end.
constexpr size_t kConnectionsOfOne = 4'096;
constexpr size_t kConnectionsOfAll = 16'384;
constexpr int kAcceptBurst = 32;
constexpr int64_t kPauseMs = 100;
constexpr size_t kChunk = 64 * 1024;
/// What one connection moves before the others get their turn.
constexpr size_t kTurn = 1024 * 1024;
/// Told once for each change: a connection that one side closed while the other does not read makes no noise.
constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

void set_flag(int fd, int level, int option) {
  int on = 1;
  ::setsockopt(fd, level, option, &on, sizeof on);
}

/// Its end will be a reset, which tells the other side that this was no orderly one.
void end_by_reset(int fd) {
  linger now{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

class StreamPort;
class Connection;

/// One of the two sockets of a connection.
class Side final : public Source {
 public:
  Side(UniqueFd fd, Connection& connection) : Source(std::move(fd)), connection_(connection) {}
  void on_ready(uint32_t events) override;

 private:
  Connection& connection_;
};

/// Bytes on their way from one side to the other.
struct Direction {
  Side* from = nullptr;
  Side* to = nullptr;
  std::unique_ptr<Pipe> pipe{};
  size_t held = 0;
  bool ended = false;
  bool told = false;
};

/// A client and the container that it talks to.
class Connection {
 public:
  Connection(StreamPort& port, Loop& loop, Common& common) : port_(port), loop_(loop), common_(common) {
    common_.connections++;
  }
  ~Connection() {
    common_.connections--;
    for (Side* side : {out_.from, out_.to})
      if (side) loop_.remove(side);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// False when it cannot even begin.
  bool open(UniqueFd client, const Target& target);
  void on_ready(const Side& side, uint32_t events);
  /// Its end, when it comes, is no orderly one.
  void reset();

 private:
  bool finish_connect(const Side& side, uint32_t events);
  void pump();
  bool move(Direction& direction);
  void fail();
  void end();

  StreamPort& port_;
  Loop& loop_;
  Common& common_;
  /// From the client to the container.
  Direction out_;
  Direction back_;
  bool connecting_ = true;
};

class Listener final : public Source {
 public:
  Listener(UniqueFd fd, StreamPort& port) : Source(std::move(fd)), port_(port) {}
  void on_ready(uint32_t events) override;
  void on_deadline() override;

 private:
  StreamPort& port_;
};

class StreamPort final : public Port {
 public:
  StreamPort(Loop& loop, Common& common, UniqueFd fd, const Target& target)
      : loop_(loop), common_(common), target_(target) {
    end_reservation(fd.get());
    // Connections that are over keep a port from the next process for a minute, unless both said this.
    set_flag(fd.get(), SOL_SOCKET, SO_REUSEADDR);
    if (::listen(fd.get(), kBacklog) < 0) throw_errno("listen");
    listener_ = loop_.add(std::make_unique<Listener>(std::move(fd), *this), EPOLLIN);
    if (!listener_) throw SysError(ENOSPC, "epoll_ctl", "listener");
  }
  ~StreamPort() override {
    loop_.remove(listener_);
    for (const auto& [key, connection] : connections_) connection->reset();
  }
  StreamPort(const StreamPort&) = delete;
  StreamPort& operator=(const StreamPort&) = delete;

  void accept_some();
  void resume() { loop_.set_events(listener_, EPOLLIN); }
  void forget(Connection* connection) { connections_.erase(connection); }

 private:
  /// Clients wait in the kernel meanwhile.
  void pause() {
    loop_.set_events(listener_, 0);
    loop_.set_deadline(listener_, kPauseMs);
  }

  Loop& loop_;
  Common& common_;
  Target target_;
  Source* listener_ = nullptr;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
};

void StreamPort::accept_some() {
  for (int i = 0; i < kAcceptBurst; i++) {
    if (connections_.size() >= kConnectionsOfOne || common_.connections >= kConnectionsOfAll) return pause();
    UniqueFd client(::accept4(listener_->fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client) {
      if (errno == ECONNABORTED || errno == EINTR) continue;
      // Out of descriptors or memory, most likely.
      if (errno != EAGAIN) pause();
      return;
    }
    auto connection = std::make_unique<Connection>(*this, loop_, common_);
    if (!connection->open(std::move(client), target_)) continue;
    Connection* key = connection.get();
    connections_.emplace(key, std::move(connection));
  }
}

void Listener::on_ready(uint32_t) { port_.accept_some(); }
void Listener::on_deadline() { port_.resume(); }
void Side::on_ready(uint32_t events) { connection_.on_ready(*this, events); }

bool Connection::open(UniqueFd client, const Target& target) {
  set_flag(client.get(), IPPROTO_TCP, TCP_NODELAY);
  // A client that is gone without a word is noticed some time.
  set_flag(client.get(), SOL_SOCKET, SO_KEEPALIVE);
  UniqueFd server(::socket(target.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (server) {
    set_flag(server.get(), IPPROTO_TCP, TCP_NODELAY);
    set_flag(server.get(), SOL_SOCKET, SO_KEEPALIVE);
  }
  if (!server || (::connect(server.get(), reinterpret_cast<const sockaddr*>(&target.address), target.size) < 0 &&
                  errno != EINPROGRESS)) {
    end_by_reset(client.get());
    return false;
  }
  auto client_side = std::make_unique<Side>(std::move(client), *this);
  auto server_side = std::make_unique<Side>(std::move(server), *this);
  out_.from = back_.to = client_side.get();
  out_.to = back_.from = server_side.get();
  if (!loop_.add(std::move(client_side), kEvents)) {
    out_.from = out_.to = nullptr;
    return false;
  }
  if (!loop_.add(std::move(server_side), kEvents)) {
    out_.to = nullptr;
    return false;
  }
  return true;
}

void Connection::on_ready(const Side& side, uint32_t events) {
  if (connecting_ && !finish_connect(side, events)) return;
  pump();
}

/// False while there is nothing to do yet, or nothing any more.
bool Connection::finish_connect(const Side& side, uint32_t events) {
  if (&side != out_.to || (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return false;
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(side.fd(), SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0) {
    fail();
    return false;
  }
  connecting_ = false;
  return true;
}

void Connection::pump() {
  if (!move(out_) || !move(back_)) return fail();
  if (out_.told && back_.told) end();
}

/// False when the connection is broken.
bool Connection::move(Direction& direction) {
  size_t moved = 0;
  for (;;) {
    if (direction.held > 0) {
      ssize_t size = ::splice(direction.pipe->read.get(), nullptr, direction.to->fd(), nullptr, direction.held,
                              SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) return errno == EAGAIN;
      direction.held -= static_cast<size_t>(size);
      continue;
    }
    if (direction.pipe && (direction.ended || moved >= kTurn)) common_.give_back(std::move(direction.pipe));
    if (direction.ended) {
      if (!direction.told) ::shutdown(direction.to->fd(), SHUT_WR);
      direction.told = true;
      return true;
    }
    if (moved >= kTurn) {
      // What is ready is told once more.
      loop_.set_events(direction.from, kEvents);
      return true;
    }
    if (!direction.pipe) direction.pipe = common_.take_pipe();
    if (!direction.pipe) return false;
    ssize_t size = ::splice(direction.from->fd(), nullptr, direction.pipe->write.get(), nullptr, kChunk,
                            SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) {
      // An idle connection keeps no pipe.
      bool waits = errno == EAGAIN;
      common_.give_back(std::move(direction.pipe));
      return waits;
    }
    if (size == 0) direction.ended = true;
    direction.held = static_cast<size_t>(size);
    moved += direction.held;
  }
}

void Connection::reset() {
  end_by_reset(out_.from->fd());
  end_by_reset(out_.to->fd());
}

void Connection::fail() {
  reset();
  end();
}

/// This object is gone afterwards.
void Connection::end() { port_.forget(this); }

}  // namespace

std::unique_ptr<Port> serve_stream(Loop& loop, Common& common, UniqueFd fd, const Target& target) {
  return std::make_unique<StreamPort>(loop, common, std::move(fd), target);
}

}  // namespace gantry::proxy
