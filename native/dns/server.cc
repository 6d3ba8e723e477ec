#include "server.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <utility>

#include "forward.h"

namespace gantry::dns {

namespace {

/// More questions of one sandbox that wait for servers outside are dropped, as a busy server does; likewise of all.
constexpr unsigned kWaitingOfOne = 128;
constexpr unsigned kWaitingOfAll = 4'096;
constexpr unsigned kConnectionsOfOne = 32;
constexpr int64_t kIdleMs = 10'000;
/// Datagrams of one sandbox before the others get their turn.
constexpr int kBurst = 64;
/// Answers that a client of a connection does not take; it is dropped beyond.
constexpr size_t kMostUnsent = 256 * 1024;

/// Answers questions that come by UDP.
class UdpSource final : public Source {
 public:
  UdpSource(UniqueFd fd, Server& server, std::shared_ptr<SandboxSockets> sockets)
      : Source(std::move(fd)), server_(server), sockets_(std::move(sockets)) {}

  void on_ready(uint32_t) override {
    static std::array<uint8_t, 4'096> buffer;
    for (int i = 0; i < kBurst; i++) {
      sockaddr_storage from{};
      socklen_t from_size = sizeof from;
      ssize_t size = ::recvfrom(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_TRUNC,
                                reinterpret_cast<sockaddr*>(&from), &from_size);
      if (size < 0) return;
      // Larger than any query.
      if (static_cast<size_t>(size) > buffer.size()) continue;
      std::weak_ptr<SandboxSockets> weak = sockets_;
      server_.handle(sockets_, View(buffer.data(), static_cast<size_t>(size)), false,
                     [weak, from, from_size](const Bytes& answer) {
                       auto sockets = weak.lock();
                       if (!sockets || !sockets->udp) return;
                       ::sendto(sockets->udp->fd(), answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                                reinterpret_cast<const sockaddr*>(&from), from_size);
                     });
    }
  }

 private:
  Server& server_;
  std::shared_ptr<SandboxSockets> sockets_;
};

/// One client's connection: questions and answers with their length before them.
class Connection final : public Source {
 public:
  Connection(UniqueFd fd, Loop& loop, Server& server, std::shared_ptr<SandboxSockets> sockets)
      : Source(std::move(fd)),
        loop_(loop),
        server_(server),
        sockets_(std::move(sockets)),
        alive_(std::make_shared<Connection*>(this)) {
    sockets_->connections.insert(this);
  }
  ~Connection() override {
    *alive_ = nullptr;
    sockets_->connections.erase(this);
  }

  void on_deadline() override { end(); }

  void on_ready(uint32_t events) override {
    if ((events & EPOLLOUT) && !flush()) return;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
    std::array<uint8_t, 4'096> chunk;
    ssize_t size = ::recv(fd(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) return end();
    loop_.set_deadline(this, kIdleMs);
    received_.insert(received_.end(), chunk.begin(), chunk.begin() + size);
    take_messages();
  }

 private:
  void take_messages() {
    std::weak_ptr<Connection*> weak = alive_;
    size_t at = 0;
    while (received_.size() - at >= 2) {
      size_t length = static_cast<size_t>(received_[at]) << 8 | received_[at + 1];
      if (received_.size() - at < 2 + length) break;
      Bytes message(received_.begin() + static_cast<ptrdiff_t>(at) + 2,
                    received_.begin() + static_cast<ptrdiff_t>(at + 2 + length));
      at += 2 + length;
      server_.handle(sockets_, message, true, [weak](const Bytes& answer) {
        if (auto self = weak.lock(); self && *self) (*self)->send(answer);
      });
      if (ended_) return;
    }
    received_.erase(received_.begin(), received_.begin() + static_cast<ptrdiff_t>(at));
  }

  void send(const Bytes& answer) {
    if (ended_) return;
    unsent_.push_back(static_cast<uint8_t>(answer.size() >> 8));
    unsent_.push_back(static_cast<uint8_t>(answer.size()));
    unsent_.insert(unsent_.end(), answer.begin(), answer.end());
    if (unsent_.size() > kMostUnsent) return end();
    flush();
  }

  /// False when the connection is over.
  bool flush() {
    if (!unsent_.empty()) {
      ssize_t sent = ::send(fd(), unsent_.data(), unsent_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        end();
        return false;
      }
      if (sent > 0) unsent_.erase(unsent_.begin(), unsent_.begin() + sent);
    }
    loop_.set_events(this, unsent_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
    return true;
  }

  void end() {
    if (ended_) return;
    ended_ = true;
    loop_.remove(this);
  }

  Loop& loop_;
  Server& server_;
  std::shared_ptr<SandboxSockets> sockets_;
  std::shared_ptr<Connection*> alive_;
  Bytes received_;
  Bytes unsent_;
  bool ended_ = false;
};

class Listener final : public Source {
 public:
  Listener(UniqueFd fd, Loop& loop, Server& server, std::shared_ptr<SandboxSockets> sockets)
      : Source(std::move(fd)), loop_(loop), server_(server), sockets_(std::move(sockets)) {}

  void on_ready(uint32_t) override {
    UniqueFd accepted(::accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!accepted || sockets_->connections.size() >= kConnectionsOfOne) return;
    Source* added = loop_.add(std::make_unique<Connection>(std::move(accepted), loop_, server_, sockets_), EPOLLIN);
    if (added) loop_.set_deadline(added, kIdleMs);
  }

 private:
  Loop& loop_;
  Server& server_;
  std::shared_ptr<SandboxSockets> sockets_;
};

}  // namespace

bool Server::attach(const std::string& id, UniqueFd udp, UniqueFd tcp) {
  detach(id);
  auto sockets = std::make_shared<SandboxSockets>();
  sockets->id = id;
  sockets->udp = loop_.add(std::make_unique<UdpSource>(std::move(udp), *this, sockets), EPOLLIN);
  sockets->tcp = loop_.add(std::make_unique<Listener>(std::move(tcp), loop_, *this, sockets), EPOLLIN);
  sockets_[id] = sockets;
  if (sockets->udp && sockets->tcp) return true;
  detach(id);
  return false;
}

void Server::detach(const std::string& id) {
  auto found = sockets_.find(id);
  if (found == sockets_.end()) return;
  std::shared_ptr<SandboxSockets> sockets = found->second;
  sockets_.erase(found);
  // Its sources hold it, and it points to them. An open one would keep the sandbox's namespace alive.
  for (Source* connection : std::exchange(sockets->connections, {})) loop_.remove(connection);
  if (sockets->sources) sockets->sources->close();
  if (sockets->udp) loop_.remove(sockets->udp);
  if (sockets->tcp) loop_.remove(sockets->tcp);
  sockets->udp = sockets->tcp = nullptr;
}

bool Server::put_sources(const std::string& id, std::vector<UniqueFd> udp, std::vector<UniqueFd> tcp) {
  auto found = sockets_.find(id);
  if (found == sockets_.end()) return false;
  if (found->second->sources) found->second->sources->close();
  found->second->sources = std::make_shared<SourcePool>(std::move(udp), std::move(tcp));
  return true;
}

std::vector<std::string> Server::sandboxes() const {
  std::vector<std::string> ids;
  for (const auto& [id, sockets] : sockets_) ids.push_back(id);
  return ids;
}

void Server::handle(const std::shared_ptr<SandboxSockets>& sockets, View message, bool tcp, Reply reply) {
  Query query;
  Reading reading = read_query(message, query);
  if (reading.kind == Reading::Kind::drop) return;
  if (reading.kind == Reading::Kind::fail) return reply(failure(message, reading.rcode));
  // A version of EDNS that nobody here speaks: said by the extended code in a record of the version that we do.
  if (query.edns && query.edns_version != 0) return reply(answer_code(message, query, kNoError, kBadVersion));
  const Sandbox* sandbox = table_.sandbox(sockets->id);
  if (!sandbox) return reply(failure(message, kServerFailure));
  const size_t limit = tcp ? 65'535 : query.limit;

  Address address;
  if (reversed_address(query.name, address)) {
    Table::Owner owner = table_.owner(*sandbox, address);
    if (!owner.ours) return forward(sockets, *sandbox, message, tcp, std::move(reply));
    if (owner.name.empty()) return reply(answer_code(message, query, kNoSuchName));
    bool wanted = query.type == kPtr || query.type == kAny;
    return reply(wanted ? answer_name(message, query, owner.name, limit) : answer_code(message, query, kNoError));
  }

  std::vector<const Endpoint*> found = table_.find(*sandbox, query.name);
  if (found.empty()) {
    // A name without a dot is a container's or nobody's; the world outside must not learn of it.
    if (query.name.find('.') != std::string::npos) return forward(sockets, *sandbox, message, tcp, std::move(reply));
    return reply(answer_code(message, query, query.name.empty() ? kRefused : kNoSuchName));
  }
  std::vector<Address> addresses;
  for (const Endpoint* endpoint : found) {
    if (endpoint->v4 && (query.type == kA || query.type == kAny)) addresses.push_back(*endpoint->v4);
    if (endpoint->v6 && (query.type == kAaaa || query.type == kAny)) addresses.push_back(*endpoint->v6);
  }
  // No record of the type is "no such record", never "no such name": resolvers give up on the latter.
  if (addresses.size() > 1)
    std::rotate(addresses.begin(), addresses.begin() + sockets->turn++ % addresses.size(), addresses.end());
  reply(answer_addresses(message, query, addresses, limit));
}

void Server::forward(const std::shared_ptr<SandboxSockets>& sockets, const Sandbox& sandbox, View message, bool tcp,
                     Reply reply) {
  std::vector<Upstream> servers;
  bool own = !sandbox.servers.empty();
  if (sandbox.forwards) servers = own ? sandbox.servers : host_servers_.get();
  // Servers that the sandbox names are meant as it sees the network; those of the host as the host does.
  if (servers.empty() || (own && !sockets->sources)) return reply(failure(message, kServerFailure));
  if (sockets->waiting >= kWaitingOfOne || waiting_ >= kWaitingOfAll) return;
  sockets->waiting++;
  waiting_++;
  bool started = start_forward(
      loop_, message, std::move(servers), tcp, own ? sockets->sources : nullptr,
      [this, sockets, reply = std::move(reply), query = Bytes(message.begin(), message.end())](const Bytes* answer) {
        sockets->waiting--;
        waiting_--;
        reply(answer ? *answer : failure(query, kServerFailure));
      });
  if (started) return;
  sockets->waiting--;
  waiting_--;
}

}  // namespace gantry::dns
