#include "gantry/unix_exchange.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>

#include "gantry/error.h"
#include "gantry/fd.h"

namespace gantry {

namespace {

constexpr size_t kMostDescriptors = 253;
constexpr size_t kMostBytes = 64 * 1024 * 1024;

/// A call on a socket with a time limit says EAGAIN when the time is over.
[[noreturn]] void fail(const char* operation, const std::string& path) {
  throw SysError(errno == EAGAIN ? ETIMEDOUT : errno, operation, path);
}

size_t send_first(int fd, const std::string& text, const std::vector<int>& descriptors, const std::string& path) {
  iovec part{const_cast<char*>(text.data()), text.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> ancillary{};
  if (!descriptors.empty()) {
    header.msg_control = ancillary.data();
    header.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(item), descriptors.data(), descriptors.size() * sizeof(int));
  }
  ssize_t sent = ::sendmsg(fd, &header, MSG_NOSIGNAL);
  if (sent < 0) fail("send", path);
  return static_cast<size_t>(sent);
}

}  // namespace

std::string unix_exchange(const std::string& path, const std::string& text, const std::vector<int>& descriptors,
                          int timeout_ms) {
  if (text.empty() || descriptors.size() > kMostDescriptors) throw InvalidInput("invalid exchange");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw SysError(ENAMETOOLONG, "connect", path);
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throw_errno("socket", "unix");
  timeval limit{timeout_ms / 1000, timeout_ms % 1000 * 1000};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0 ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0)
    throw_errno("setsockopt", "unix");
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) fail("connect", path);
  for (size_t at = send_first(fd.get(), text, descriptors, path); at < text.size();) {
    ssize_t sent = ::send(fd.get(), text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (sent < 0) fail("send", path);
    at += static_cast<size_t>(sent);
  }
  if (::shutdown(fd.get(), SHUT_WR) < 0) throw_errno("shutdown", path);
  std::string answer;
  std::array<char, 65'536> chunk;
  for (;;) {
    ssize_t size = ::recv(fd.get(), chunk.data(), chunk.size(), 0);
    if (size < 0) fail("receive", path);
    if (size == 0) return answer;
    answer.append(chunk.data(), static_cast<size_t>(size));
    if (answer.size() > kMostBytes) throw SysError(EMSGSIZE, "receive", path);
  }
}

}  // namespace gantry
