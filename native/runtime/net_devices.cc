#include "net_devices.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "apart.h"
#include "gantry/error.h"

namespace gantry::runtime {
namespace {

constexpr std::size_t kMaxReply = 65536;

/// One request to the kernel: a fixed part and attributes.
class Request {
 public:
  template <typename Fixed>
  Request(std::uint16_t type, std::uint16_t flags, const Fixed& fixed) {
    bytes_.resize(NLMSG_HDRLEN);
    append(&fixed, sizeof fixed);
    struct nlmsghdr header = {};
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    std::memcpy(bytes_.data(), &header, sizeof header);
  }
  void put(std::uint16_t type, const void* data, std::size_t size) {
    struct rtattr attribute = {static_cast<unsigned short>(RTA_LENGTH(size)), type};
    bytes_.append(reinterpret_cast<const char*>(&attribute), sizeof attribute);
    append(data, size);
  }
  const std::string& finish() {
    auto size = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &size, sizeof size);
    return bytes_;
  }

 private:
  void append(const void* data, std::size_t size) {
    bytes_.append(static_cast<const char*>(data), size);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  std::string bytes_;
};

struct Address {
  struct ifaddrmsg fixed = {};
  /// Type and content: local, peer, broadcast.
  std::vector<std::pair<std::uint16_t, std::string>> attributes;
};

struct Device {
  std::string host_name, name;
  unsigned index = 0;
  std::vector<Address> addresses;
};

UniqueFd open_netlink() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) throw_errno("open a netlink socket");
  return fd;
}

/// Sends a request and gives every message of the answer to `visit`, up to its end; throws with the kernel's error.
template <typename Visit>
void exchange(int socket, Request& request, const std::string& what, Visit visit) {
  const std::string& bytes = request.finish();
  if (::send(socket, bytes.data(), bytes.size(), 0) < 0) throw_errno(what);
  std::string buffer(kMaxReply, '\0');
  for (;;) {
    ssize_t n = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno(what);
    auto left = static_cast<unsigned>(n);
    for (auto* message = reinterpret_cast<struct nlmsghdr*>(buffer.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type == NLMSG_DONE) return;
      if (message->nlmsg_type == NLMSG_ERROR) {
        int err = -static_cast<struct nlmsgerr*>(NLMSG_DATA(message))->error;
        if (err) throw SysError(err, what);
        return;
      }
      visit(*message);
    }
  }
}

void acknowledge(int socket, Request& request, const std::string& what) {
  exchange(socket, request, what, [](const struct nlmsghdr&) {});
}

std::vector<Address> addresses_of(int socket, unsigned index, const std::string& name) {
  std::vector<Address> all;
  Request request(RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{});
  exchange(socket, request, "list the addresses of " + name, [&](const struct nlmsghdr& message) {
    Address address;
    std::memcpy(&address.fixed, NLMSG_DATA(&message), sizeof address.fixed);
    if (address.fixed.ifa_index != index || address.fixed.ifa_scope != RT_SCOPE_UNIVERSE ||
        !(address.fixed.ifa_flags & IFA_F_PERMANENT)) {
      return;
    }
    int left = static_cast<int>(IFA_PAYLOAD(&message));
    const auto* first = reinterpret_cast<const char*>(NLMSG_DATA(&message)) + NLMSG_ALIGN(sizeof(struct ifaddrmsg));
    for (auto* a = reinterpret_cast<const struct rtattr*>(first); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
      if (a->rta_type != IFA_LOCAL && a->rta_type != IFA_ADDRESS && a->rta_type != IFA_BROADCAST) continue;
      address.attributes.emplace_back(a->rta_type, std::string(static_cast<const char*>(RTA_DATA(a)), RTA_PAYLOAD(a)));
    }
    all.push_back(std::move(address));
  });
  return all;
}

/// In the container's namespace.
void set_up(const std::vector<Device>& devices) {
  UniqueFd socket = open_netlink();
  for (const auto& device : devices) {
    unsigned index = ::if_nametoindex(device.name.c_str());
    if (index == 0) throw_errno("find network device", device.name);
    for (const auto& address : device.addresses) {
      struct ifaddrmsg fixed = address.fixed;
      fixed.ifa_index = index;
      Request request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, fixed);
      for (const auto& [type, content] : address.attributes) request.put(type, content.data(), content.size());
      acknowledge(socket.get(), request, "add an address to network device " + device.name);
    }
    struct ifinfomsg link = {};
    link.ifi_index = static_cast<int>(index);
    link.ifi_flags = link.ifi_change = IFF_UP;
    Request request(RTM_SETLINK, NLM_F_ACK, link);
    acknowledge(socket.get(), request, "bring up network device " + device.name);
  }
}

/// In the container's namespace. The kernel would move a device and only then find that its name is taken, and a
/// virtual one would end with the container.
void check_names(const std::vector<Device>& devices) {
  for (const auto& device : devices) {
    if (::if_nametoindex(device.name.c_str()) != 0) {
      throw SysError(EEXIST, "move network device " + device.host_name + " to", device.name);
    }
  }
}

/// Runs one of these in another network namespace.
void run_in(int network_namespace, void (*body)(const std::vector<Device>&), const std::vector<Device>& devices) {
  run_apart([&] {
    if (::setns(network_namespace, CLONE_NEWNET) != 0) throw_errno("join the container's network namespace");
    body(devices);
  });
}

}  // namespace

void bring_up_loopback() {
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  struct ifreq request = {};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!socket || ::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) throw_errno("bring up the loopback interface");
}

void move_net_devices(const Plan& plan, pid_t init) {
  if (plan.spec.net_devices.empty()) return;
  UniqueFd target;
  if (const auto* ns = plan.spec.find_namespace(CLONE_NEWNET); !ns->path.empty()) {
    target.reset(::open(ns->path.c_str(), O_RDONLY | O_CLOEXEC));
  } else {
    UniqueFd dir = plan.proc.open(std::to_string(init) + "/ns", O_RDONLY | O_DIRECTORY);
    target.reset(::openat(dir.get(), "net", O_RDONLY | O_CLOEXEC));
  }
  if (!target) throw_errno("open the container's network namespace");
  UniqueFd socket = open_netlink();
  std::vector<Device> devices;
  for (const auto& [host_name, name] : plan.spec.net_devices) {
    Device device{host_name, name, ::if_nametoindex(host_name.c_str()), {}};
    if (device.index == 0) throw_errno("find network device", host_name);
    device.addresses = addresses_of(socket.get(), device.index, host_name);
    devices.push_back(std::move(device));
  }
  run_in(target.get(), check_names, devices);
  for (const auto& device : devices) {
    struct ifinfomsg link = {};
    link.ifi_index = static_cast<int>(device.index);
    // A device that is up keeps its name.
    link.ifi_change = IFF_UP;
    Request down(RTM_SETLINK, NLM_F_ACK, link);
    acknowledge(socket.get(), down, "take down network device " + device.host_name);
    link.ifi_change = 0;
    Request move(RTM_SETLINK, NLM_F_ACK, link);
    int fd = target.get();
    move.put(IFLA_NET_NS_FD, &fd, sizeof fd);
    move.put(IFLA_IFNAME, device.name.c_str(), device.name.size() + 1);
    acknowledge(socket.get(), move, "move network device " + device.host_name + " to " + device.name);
  }
  run_in(target.get(), set_up, devices);
}

}  // namespace gantry::runtime
