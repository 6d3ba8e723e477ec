#include "gantry/service_notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "gantry/error.h"
#include "gantry/fd.h"

namespace gantry {

void notify_service(const std::string& address, const std::string& state) {
  if (address.size() < 2 || (address[0] != '/' && address[0] != '@'))
    throw InvalidInput("the service manager's address is neither a path nor an abstract name: " + address);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  // A path ends with a NUL byte; an abstract name begins with one and has none at its end.
  if (address.size() >= sizeof to.sun_path) throw SysError(ENAMETOOLONG, "notify", address);
  std::memcpy(to.sun_path, address.data(), address.size());
  if (address[0] == '@') to.sun_path[0] = '\0';
  auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size() + (address[0] == '/' ? 1 : 0));
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) throw_errno("socket", "unix");
  if (::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&to), length) < 0)
    throw_errno("notify", address);
}

}  // namespace gantry
