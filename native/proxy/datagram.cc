#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <list>
#include <string>
#include <unordered_map>

#include "gantry/error.h"
#include "port.h"

namespace gantry::proxy {

namespace {

/// With more clients at once, those that were silent the longest are forgotten.
constexpr size_t kFlowsOfOne = 1'024;
constexpr size_t kFlowsOfAll = 8'192;
constexpr int64_t kIdleMs = 90'000;
/// Datagrams of one socket before the others get their turn.
constexpr int kBurst = 64;

/// A client, and the address of this host by which it came: answers must come from there.
struct Client {
  sockaddr_in6 address{};
  in6_pktinfo local{};

  std::string key() const {
    std::string key(reinterpret_cast<const char*>(&address.sin6_addr), sizeof address.sin6_addr);
    key.append(reinterpret_cast<const char*>(&address.sin6_port), sizeof address.sin6_port);
    key.append(reinterpret_cast<const char*>(&address.sin6_scope_id), sizeof address.sin6_scope_id);
    key.append(reinterpret_cast<const char*>(&local.ipi6_addr), sizeof local.ipi6_addr);
    return key;
  }
};

std::array<char, 65'536> buffer;

class DatagramPort;

/// What one client sends goes to the container by a socket of its own, and so the answers find back.
class Flow final : public Source {
 public:
  Flow(UniqueFd fd, DatagramPort& port, const Client& client)
      : Source(std::move(fd)), port_(port), client_(client), key_(client.key()) {}

  void on_ready(uint32_t events) override;
  void on_deadline() override;

  const std::string& key() const noexcept { return key_; }
  int64_t last_used = 0;
  /// Its place in the order of use.
  std::list<Flow*>::iterator place;

 private:
  DatagramPort& port_;
  Client client_;
  std::string key_;
};

class Receiver final : public Source {
 public:
  Receiver(UniqueFd fd, DatagramPort& port) : Source(std::move(fd)), port_(port) {}
  void on_ready(uint32_t events) override;

 private:
  DatagramPort& port_;
};

class DatagramPort final : public Port {
 public:
  DatagramPort(Loop& loop, Common& common, UniqueFd fd, const Target& target)
      : loop_(loop), common_(common), target_(target) {
    int on = 1;
    if (::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) < 0) throw_errno("setsockopt");
    end_reservation(fd.get());
    receiver_ = loop_.add(std::make_unique<Receiver>(std::move(fd), *this), EPOLLIN);
    if (!receiver_) throw SysError(ENOSPC, "epoll_ctl", "receiver");
  }
  ~DatagramPort() override {
    loop_.remove(receiver_);
    while (!by_use_.empty()) drop(by_use_.front());
  }
  DatagramPort(const DatagramPort&) = delete;
  DatagramPort& operator=(const DatagramPort&) = delete;

  void receive();
  void answer(const Client& client, size_t size);
  void touch(Flow& flow);
  void drop(Flow* flow);
  /// Ends a flow that was silent for long, or looks again later.
  void expire(Flow* flow);

 private:
  Flow* flow_of(const Client& client);

  Loop& loop_;
  Common& common_;
  Target target_;
  Source* receiver_ = nullptr;
  std::unordered_map<std::string, Flow*> flows_;
  /// The one that was used last at the end.
  std::list<Flow*> by_use_;
};

void DatagramPort::receive() {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in6_pktinfo))> ancillary;
  for (int i = 0; i < kBurst; i++) {
    Client client;
    iovec part{buffer.data(), buffer.size()};
    msghdr header{};
    header.msg_name = &client.address;
    header.msg_namelen = sizeof client.address;
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = ancillary.data();
    header.msg_controllen = ancillary.size();
    ssize_t size = ::recvmsg(receiver_->fd(), &header, MSG_DONTWAIT);
    if (size < 0) return;
    for (cmsghdr* item = CMSG_FIRSTHDR(&header); item; item = CMSG_NXTHDR(&header, item))
      if (item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_PKTINFO)
        std::memcpy(&client.local, CMSG_DATA(item), sizeof client.local);
    Flow* flow = flow_of(client);
    if (!flow) continue;
    touch(*flow);
    // A container that refuses or is too slow loses datagrams, as it would without us.
    ::send(flow->fd(), buffer.data(), static_cast<size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
}

Flow* DatagramPort::flow_of(const Client& client) {
  if (auto found = flows_.find(client.key()); found != flows_.end()) return found->second;
  if (flows_.size() >= kFlowsOfOne || common_.flows >= kFlowsOfAll) {
    if (by_use_.empty()) return nullptr;
    drop(by_use_.front());
  }
  UniqueFd fd(::socket(target_.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&target_.address), target_.size) < 0) return nullptr;
  auto made = std::make_unique<Flow>(std::move(fd), *this, client);
  Flow* flow = made.get();
  if (!loop_.add(std::move(made), EPOLLIN)) return nullptr;
  flow->place = by_use_.insert(by_use_.end(), flow);
  flows_.emplace(flow->key(), flow);
  common_.flows++;
  loop_.set_deadline(flow, kIdleMs);
  return flow;
}

void DatagramPort::answer(const Client& client, size_t size) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in6_pktinfo))> ancillary{};
  iovec part{buffer.data(), size};
  msghdr header{};
  sockaddr_in6 to = client.address;
  header.msg_name = &to;
  header.msg_namelen = sizeof to;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = ancillary.data();
  header.msg_controllen = ancillary.size();
  cmsghdr* item = CMSG_FIRSTHDR(&header);
  item->cmsg_level = IPPROTO_IPV6;
  item->cmsg_type = IPV6_PKTINFO;
  item->cmsg_len = CMSG_LEN(sizeof(in6_pktinfo));
  in6_pktinfo local = client.local;
  // The way back need not be the way that it came, except where the address means nothing without its link.
  if (!IN6_IS_ADDR_LINKLOCAL(&local.ipi6_addr)) local.ipi6_ifindex = 0;
  std::memcpy(CMSG_DATA(item), &local, sizeof local);
  ::sendmsg(receiver_->fd(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void DatagramPort::touch(Flow& flow) {
  flow.last_used = Loop::now_ms();
  by_use_.splice(by_use_.end(), by_use_, flow.place);
}

void DatagramPort::drop(Flow* flow) {
  by_use_.erase(flow->place);
  flows_.erase(flow->key());
  common_.flows--;
  loop_.remove(flow);
}

void DatagramPort::expire(Flow* flow) {
  int64_t left = flow->last_used + kIdleMs - Loop::now_ms();
  if (left <= 0) return drop(flow);
  loop_.set_deadline(flow, left);
}

void Receiver::on_ready(uint32_t) { port_.receive(); }

void Flow::on_deadline() { port_.expire(this); }

void Flow::on_ready(uint32_t) {
  for (int i = 0; i < kBurst; i++) {
    ssize_t size = ::recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    // Nothing more, or the container said that nobody listens.
    if (size < 0) return;
    port_.touch(*this);
    port_.answer(client_, static_cast<size_t>(size));
  }
}

}  // namespace

std::unique_ptr<Port> serve_datagrams(Loop& loop, Common& common, UniqueFd fd, const Target& target) {
  return std::make_unique<DatagramPort>(loop, common, std::move(fd), target);
}

}  // namespace gantry::proxy
