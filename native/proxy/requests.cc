#include "requests.h"

#include <stdexcept>

#include "gantry/error.h"

namespace gantry::proxy {

namespace {

/// What came as a socket must be one of its kind.
void check_socket(int fd, int kind) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0) throw_errno("getsockopt SO_TYPE");
  int domain = 0;
  size = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0) throw_errno("getsockopt SO_DOMAIN");
  if (type != kind || domain != AF_INET6) throw std::invalid_argument("a socket of another kind");
}

}  // namespace

Words ProxyRequests::state() const {
  Words ids;
  for (const auto& [id, port] : ports_) ids.push_back(id);
  return ids;
}

void ProxyRequests::line(const Words& words) {
  if (words[0] == "port") {
    need_words(words, 5);
    UniqueFd fd = take_descriptor();
    Target target = parse_target(words[3], words[4]);
    bool stream = words[2] == "tcp";
    if (!stream && words[2] != "udp") throw std::invalid_argument("unknown protocol: " + words[2]);
    check_socket(fd.get(), stream ? SOCK_STREAM : SOCK_DGRAM);
    ports_.erase(words[1]);
    ports_[words[1]] = stream ? serve_stream(loop_, common_, std::move(fd), target)
                              : serve_datagrams(loop_, common_, std::move(fd), target);
  } else if (words[0] == "no-port") {
    need_words(words, 2);
    ports_.erase(words[1]);
  } else {
    throw std::invalid_argument("unknown command: " + words[0]);
  }
}

}  // namespace gantry::proxy
