#include "control.h"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <charconv>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "host_servers.h"

namespace gantry::dns {

namespace {

constexpr const char* kVersion = "1";
constexpr int64_t kIdleMs = 10'000;
constexpr size_t kMostBytes = 64 * 1024 * 1024;
constexpr size_t kMostDescriptors = 253;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::string part;
  std::istringstream stream(text);
  while (std::getline(stream, part, separator)) parts.push_back(part);
  return parts;
}

std::optional<Address> parse_address(const std::string& text) {
  if (text == "-") return std::nullopt;
  Address address;
  if (::inet_pton(AF_INET, text.c_str(), address.bytes.data()) == 1) return address;
  address = {.v6 = true, .bytes = {}};
  if (::inet_pton(AF_INET6, text.c_str(), address.bytes.data()) == 1) return address;
  throw std::invalid_argument("invalid address: " + text);
}

Subnet parse_subnet(const std::string& text) {
  size_t slash = text.find('/');
  auto first = parse_address(text.substr(0, slash));
  unsigned prefix = 0;
  if (slash == std::string::npos || !first) throw std::invalid_argument("invalid subnet: " + text);
  const char* last = text.data() + text.size();
  auto [end, error] = std::from_chars(text.data() + slash + 1, last, prefix);
  if (error != std::errc{} || end != last || prefix > first->size() * 8)
    throw std::invalid_argument("invalid subnet: " + text);
  return {*first, prefix};
}

/// `NETWORK` or `NETWORK=alias:target,alias:target`.
Place parse_place(const std::string& text) {
  size_t equals = text.find('=');
  Place place{text.substr(0, equals), {}};
  if (equals == std::string::npos) return place;
  for (const std::string& link : split(text.substr(equals + 1), ',')) {
    size_t colon = link.find(':');
    if (colon == std::string::npos) throw std::invalid_argument("invalid link: " + link);
    place.links.emplace_back(to_lower(link.substr(0, colon)), to_lower(link.substr(colon + 1)));
  }
  return place;
}

std::vector<Upstream> parse_servers(const std::string& text) {
  std::vector<Upstream> servers;
  if (text == "host") return servers;
  for (const std::string& word : split(text, ',')) {
    Upstream server;
    if (!parse_server(word, server)) throw std::invalid_argument("invalid name server: " + word);
    servers.push_back(server);
  }
  return servers;
}

/// A client of the control socket, from its first byte to the end of its request.
class Client final : public Source {
 public:
  Client(UniqueFd fd, Loop& loop, Control& control, Table& table, Server& server)
      : Source(std::move(fd)), loop_(loop), control_(control), table_(table), server_(server) {
    control_.opened();
  }
  ~Client() override { control_.closed(); }

  void on_ready(uint32_t) override {
    std::array<char, 65'536> chunk;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> ancillary;
    for (;;) {
      iovec part{chunk.data(), chunk.size()};
      msghdr header{};
      header.msg_iov = &part;
      header.msg_iovlen = 1;
      header.msg_control = ancillary.data();
      header.msg_controllen = ancillary.size();
      ssize_t size = ::recvmsg(fd(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (size < 0) return loop_.remove(this);
      take_descriptors(header);
      if (size == 0) return finish();
      text_.append(chunk.data(), static_cast<size_t>(size));
      if (text_.size() > kMostBytes) return loop_.remove(this);
    }
  }

 private:
  void take_descriptors(msghdr& header) {
    for (cmsghdr* item = CMSG_FIRSTHDR(&header); item; item = CMSG_NXTHDR(&header, item)) {
      if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
      size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; i++) {
        int descriptor;
        std::memcpy(&descriptor, CMSG_DATA(item) + i * sizeof(int), sizeof descriptor);
        descriptors_.emplace_back(descriptor);
      }
    }
  }

  void finish() {
    // Nothing was asked: somebody who watched for our end and has ended first.
    if (!text_.empty()) {
      Request request(table_, server_);
      std::string answer = request.run(text_, std::move(descriptors_));
      // The daemon waits for it, and a socket's buffer holds it; if not, the daemon does not know us any more.
      size_t sent = 0;
      while (sent < answer.size()) {
        ssize_t size = ::send(fd(), answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
        if (size <= 0) break;
        sent += static_cast<size_t>(size);
      }
      if (request.quit()) loop_.stop();
    }
    loop_.remove(this);
  }

  Loop& loop_;
  Control& control_;
  Table& table_;
  Server& server_;
  std::string text_;
  std::deque<UniqueFd> descriptors_;
};

}  // namespace

std::string Request::run(const std::string& text, std::deque<UniqueFd> descriptors) {
  descriptors_ = std::move(descriptors);
  answer_ = "ok";
  std::istringstream lines(text);
  std::string one;
  unsigned number = 0;
  try {
    while (std::getline(lines, one)) {
      number++;
      line(split(one, ' '));
    }
  } catch (const std::exception& error) {
    return "error line " + std::to_string(number) + ": " + error.what() + "\n";
  }
  return answer_ + "\n";
}

void Request::line(const std::vector<std::string>& words) {
  auto need = [&](size_t least) {
    if (words.size() < least) throw std::invalid_argument("too few words");
  };
  need(1);
  const std::string& command = words[0];
  if (command == "hello") {
    answer_ += std::string(" ") + kVersion;
    for (const std::string& id : server_.sandboxes()) answer_ += " " + id;
  } else if (command == "all") {
    table_.mark();
  } else if (command == "end") {
    table_.sweep();
    for (const std::string& id : server_.sandboxes())
      if (!table_.sandbox(id)) server_.detach(id);
  } else if (command == "network") {
    need(3);
    Network network{words[2], {}};
    for (size_t i = 3; i < words.size(); i++) network.subnets.push_back(parse_subnet(words[i]));
    table_.put_network(words[1], std::move(network));
  } else if (command == "no-network") {
    need(2);
    table_.drop_network(words[1]);
  } else if (command == "endpoint") {
    need(6);
    Endpoint endpoint{words[2], words[3], parse_address(words[4]), parse_address(words[5]), {}};
    for (size_t i = 6; i < words.size(); i++) endpoint.names.push_back(to_lower(words[i]));
    table_.put_endpoint(words[1], std::move(endpoint));
  } else if (command == "no-endpoint") {
    need(2);
    table_.drop_endpoint(words[1]);
  } else if (command == "sandbox") {
    need(3);
    Sandbox sandbox;
    sandbox.forwards = words[2] != "none";
    if (sandbox.forwards) sandbox.servers = parse_servers(words[2]);
    for (size_t i = 3; i < words.size(); i++) sandbox.places.push_back(parse_place(words[i]));
    table_.put_sandbox(words[1], std::move(sandbox));
  } else if (command == "no-sandbox") {
    need(2);
    server_.detach(words[1]);
    table_.drop_sandbox(words[1]);
  } else if (command == "sockets") {
    need(2);
    if (descriptors_.size() < 2) throw std::invalid_argument("no sockets came with it");
    UniqueFd udp = std::move(descriptors_.front());
    descriptors_.pop_front();
    UniqueFd tcp = std::move(descriptors_.front());
    descriptors_.pop_front();
    if (!server_.attach(words[1], std::move(udp), std::move(tcp))) throw std::runtime_error("no room for more sockets");
  } else if (command == "quit") {
    quit_ = true;
  } else {
    throw std::invalid_argument("unknown command: " + command);
  }
}

Control::Control(UniqueFd listening, Loop& loop, Table& table, Server& server)
    : Source(std::move(listening)), loop_(loop), table_(table), server_(server) {}

void Control::on_ready(uint32_t) {
  UniqueFd accepted(::accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!accepted) return;
  loop_.add(std::make_unique<Client>(std::move(accepted), loop_, *this, table_, server_), EPOLLIN);
}

void Control::watch_idle() { loop_.set_deadline(this, kIdleMs); }

void Control::closed() {
  connections_--;
  watch_idle();
}

void Control::on_deadline() {
  if (connections_ == 0 && server_.idle()) return loop_.stop();
  watch_idle();
}

}  // namespace gantry::dns
