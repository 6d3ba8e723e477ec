#include "gantry/service_notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>

#include "gantry/error.h"
#include "gantry/fd.h"

namespace gantry {
namespace {

/// A socket at `name`, which begins with a NUL byte when it is an abstract one.
UniqueFd listener(const std::string& name) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  std::memcpy(at.sun_path, name.data(), name.size());
  auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), length), 0);
  return fd;
}

std::string heard(const UniqueFd& fd) {
  std::array<char, 256> text{};
  ssize_t size = ::recv(fd.get(), text.data(), text.size(), 0);
  return size < 0 ? "" : std::string(text.data(), static_cast<size_t>(size));
}

TEST(ServiceNotify, ReachesAPathAndAnAbstractName) {
  std::string own = std::to_string(::getpid());
  std::string path = "/tmp/gantry-notify-test-" + own;
  UniqueFd at_path = listener(path);
  notify_service(path, "READY=1");
  EXPECT_EQ(heard(at_path), "READY=1");
  ::unlink(path.c_str());

  std::string name = "gantry-notify-test-" + own;
  UniqueFd abstract = listener(std::string(1, '\0') + name);
  notify_service("@" + name, "STOPPING=1\nSTATUS=going");
  EXPECT_EQ(heard(abstract), "STOPPING=1\nSTATUS=going");
}

TEST(ServiceNotify, RefusesWhatIsNoAddress) {
  EXPECT_THROW(notify_service("relative", "READY=1"), InvalidInput);
  EXPECT_THROW(notify_service("@", "READY=1"), InvalidInput);
  EXPECT_THROW(notify_service("/" + std::string(200, 'x'), "READY=1"), SysError);
  EXPECT_THROW(notify_service("/tmp/gantry-notify-nobody", "READY=1"), SysError);
}

}  // namespace
}  // namespace gantry
