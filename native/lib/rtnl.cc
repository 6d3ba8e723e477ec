#include "gantry/rtnl.h"

#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/random.h>

#include <cstring>
#include <map>
#include <set>

#include "gantry/address.h"
#include "gantry/error.h"
#include "gantry/fd.h"

namespace gantry {

namespace {

UniqueFd open_namespace(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
  return fd;
}

}  // namespace

void check_link_name(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ) throw InvalidInput("invalid link name: " + name);
}

Rtnl::Rtnl() : socket_(NETLINK_ROUTE) {}

void Rtnl::check(int err, const char* operation, const std::string& subject) {
  if (err == 0) return;
  throw SysError(err, operation, socket_.reason().empty() ? subject : subject + " (" + socket_.reason() + ")");
}

int Rtnl::index_of(const std::string& name) {
  check_link_name(name);
  unsigned index = ::if_nametoindex(name.c_str());
  if (index == 0) throw_errno("find link", name);
  return static_cast<int>(index);
}

void Rtnl::put_settings(NetlinkMessage& message, const LinkSettings& settings) {
  if (settings.mac && !settings.mac->empty()) {
    auto mac = parse_mac(*settings.mac);
    message.put(IFLA_ADDRESS, mac.data(), mac.size());
  }
  if (settings.mtu && *settings.mtu > 0) message.put_u32(IFLA_MTU, *settings.mtu);
  if (settings.master) {
    uint32_t master = settings.master->empty() ? 0 : static_cast<uint32_t>(index_of(*settings.master));
    message.put_u32(IFLA_MASTER, master);
  }
}

void Rtnl::add_bridge(const std::string& name, const LinkSettings& settings) {
  check_link_name(name);
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.header<ifinfomsg>()->ifi_family = AF_UNSPEC;
  message.put_string(IFLA_IFNAME, name);
  put_settings(message, settings);
  message.nest(IFLA_LINKINFO, [&] { message.put_string(IFLA_INFO_KIND, "bridge"); });
  check(socket_.request(message), "add bridge", name);
  LinkSettings rest;
  rest.alias = settings.alias;
  rest.up = settings.up;
  try {
    if (rest.alias || rest.up) set_link(name, rest);
  } catch (...) {
    delete_link(name);
    throw;
  }
}

void Rtnl::add_veth(const std::string& name, const LinkSettings& settings, const VethPeer& peer) {
  check_link_name(name);
  check_link_name(peer.name);
  UniqueFd target;
  if (!peer.target_namespace.empty()) target = open_namespace(peer.target_namespace);
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.header<ifinfomsg>()->ifi_family = AF_UNSPEC;
  message.put_string(IFLA_IFNAME, name);
  put_settings(message, settings);
  message.nest(IFLA_LINKINFO, [&] {
    message.put_string(IFLA_INFO_KIND, "veth");
    message.nest(IFLA_INFO_DATA, [&] {
      message.nest(VETH_INFO_PEER, [&] {
        message.extend(sizeof(ifinfomsg));
        message.put_string(IFLA_IFNAME, peer.name);
        if (!peer.mac.empty()) {
          auto mac = parse_mac(peer.mac);
          message.put(IFLA_ADDRESS, mac.data(), mac.size());
        }
        if (peer.mtu > 0) message.put_u32(IFLA_MTU, peer.mtu);
        if (target) message.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(target.get()));
      });
    });
  });
  check(socket_.request(message), "add veth", name);
  try {
    int index = index_of(name);
    // Neither is taken at creation. The alias tells whose link this is. The end on the bridge only carries frames:
    // without an IPv6 address of its own it takes no part in neighbour discovery and listens to no router.
    NetlinkMessage rest(RTM_SETLINK, 0);
    rest.header<ifinfomsg>()->ifi_index = index;
    if (settings.alias) rest.put(IFLA_IFALIAS, settings.alias->data(), settings.alias->size());
    rest.nest(IFLA_AF_SPEC,
              [&] { rest.nest(AF_INET6, [&] { rest.put_u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE); }); });
    int err = socket_.request(rest);
    // A kernel or a namespace without IPv6 refuses the second half, which is then not needed.
    if (err == EAFNOSUPPORT) {
      LinkSettings alias;
      alias.alias = settings.alias;
      set_link(name, alias);
    } else {
      check(err, "set alias", name);
    }
    set_port(index, name, settings);
    if (settings.up.value_or(false)) {
      LinkSettings up;
      up.up = true;
      set_link(name, up);
    }
  } catch (...) {
    delete_link(name);
    throw;
  }
}

void Rtnl::set_port(int index, const std::string& name, const LinkSettings& settings) {
  if (!settings.isolated && !settings.hairpin && !settings.learning) return;
  NetlinkMessage message(RTM_SETLINK, 0);
  auto* info = message.header<ifinfomsg>();
  info->ifi_family = AF_BRIDGE;
  info->ifi_index = index;
  message.nest(IFLA_PROTINFO, [&] {
    if (settings.isolated) message.put_u8(IFLA_BRPORT_ISOLATED, *settings.isolated ? 1 : 0);
    if (settings.hairpin) message.put_u8(IFLA_BRPORT_MODE, *settings.hairpin ? 1 : 0);
    if (settings.learning) message.put_u8(IFLA_BRPORT_LEARNING, *settings.learning ? 1 : 0);
  });
  check(socket_.request(message), "set bridge port", name);
}

void Rtnl::set_link(const std::string& name, const LinkSettings& settings) {
  int index = index_of(name);
  UniqueFd target;
  NetlinkMessage message(RTM_NEWLINK, 0);
  auto* info = message.header<ifinfomsg>();
  info->ifi_family = AF_UNSPEC;
  info->ifi_index = index;
  if (settings.up) {
    info->ifi_flags = *settings.up ? IFF_UP : 0;
    info->ifi_change = IFF_UP;
  }
  if (settings.target_namespace) {
    target = open_namespace(*settings.target_namespace);
    message.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(target.get()));
  }
  if (settings.rename) {
    check_link_name(*settings.rename);
    message.put_string(IFLA_IFNAME, *settings.rename);
  }
  if (settings.alias) message.put(IFLA_IFALIAS, settings.alias->data(), settings.alias->size());
  put_settings(message, settings);
  check(socket_.request(message), "set link", name);
  set_port(index, name, settings);
}

void Rtnl::delete_link(const std::string& name) {
  check_link_name(name);
  NetlinkMessage message(RTM_DELLINK, 0);
  message.header<ifinfomsg>()->ifi_family = AF_UNSPEC;
  message.put_string(IFLA_IFNAME, name);
  int err = socket_.request(message);
  if (err != ENODEV) check(err, "delete link", name);
}

/// A number that no link of the namespace is grouped under.
uint32_t Rtnl::free_group() {
  std::set<uint32_t> taken;
  socket_.dump(
      [] {
        NetlinkMessage message(RTM_GETLINK, 0);
        message.header<ifinfomsg>()->ifi_family = AF_UNSPEC;
        return message;
      },
      [&](const nlmsghdr* header) {
        for (const nlattr* attribute : attributes(header, sizeof(ifinfomsg)))
          if (mnl_attr_get_type(attribute) == IFLA_GROUP) taken.insert(mnl_attr_get_u32(attribute));
      },
      [&] { taken.clear(); });
  for (;;) {
    uint32_t group = 0;
    if (::getrandom(&group, sizeof group, 0) != sizeof group) throw_errno("getrandom");
    group &= INT32_MAX;
    // Links without a group are in group 0.
    if (group != 0 && !taken.contains(group)) return group;
  }
}

void Rtnl::delete_links(const std::vector<std::string>& names) {
  if (names.size() < 2) {
    for (const std::string& name : names) delete_link(name);
    return;
  }
  // The kernel takes away many links in one go only when they are asked for as a group.
  uint32_t group = free_group();
  bool any = false;
  for (const std::string& name : names) {
    check_link_name(name);
    NetlinkMessage message(RTM_SETLINK, 0);
    message.header<ifinfomsg>()->ifi_family = AF_UNSPEC;
    message.put_string(IFLA_IFNAME, name);
    message.put_u32(IFLA_GROUP, group);
    int err = socket_.request(message);
    if (err == ENODEV) continue;
    check(err, "group link", name);
    any = true;
  }
  if (!any) return;
  NetlinkMessage message(RTM_DELLINK, 0);
  message.header<ifinfomsg>()->ifi_family = AF_UNSPEC;
  message.put_u32(IFLA_GROUP, group);
  int err = socket_.request(message);
  // Others may have taken them away meanwhile.
  if (err != ENODEV) check(err, "delete links", names.front() + " and others");
}

void Rtnl::add_address(const std::string& link, const std::string& cidr) {
  IpAddress address = parse_address(cidr);
  NetlinkMessage message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
  auto* header = message.header<ifaddrmsg>();
  header->ifa_family = static_cast<uint8_t>(address.family);
  header->ifa_prefixlen = address.prefix;
  header->ifa_index = static_cast<unsigned>(index_of(link));
  if (address.family == AF_INET6) header->ifa_flags = IFA_F_NODAD;
  message.put(IFA_LOCAL, address.bytes, address.size());
  message.put(IFA_ADDRESS, address.bytes, address.size());
  if (address.family == AF_INET && address.prefix < 31) {
    uint32_t broadcast;
    std::memcpy(&broadcast, address.bytes, 4);
    broadcast |= htonl(address.prefix == 0 ? UINT32_MAX : (UINT32_MAX >> address.prefix));
    message.put(IFA_BROADCAST, &broadcast, 4);
  }
  int err = socket_.request(message);
  if (err != EEXIST) check(err, "add address", cidr + " to " + link);
}

void Rtnl::delete_address(const std::string& link, const std::string& cidr) {
  IpAddress address = parse_address(cidr);
  NetlinkMessage message(RTM_DELADDR, 0);
  auto* header = message.header<ifaddrmsg>();
  header->ifa_family = static_cast<uint8_t>(address.family);
  header->ifa_prefixlen = address.prefix;
  header->ifa_index = static_cast<unsigned>(index_of(link));
  message.put(IFA_LOCAL, address.bytes, address.size());
  int err = socket_.request(message);
  if (err != EADDRNOTAVAIL) check(err, "delete address", cidr + " of " + link);
}

NetlinkMessage Rtnl::route_message(uint16_t type, uint16_t flags, const std::string& destination,
                                   const std::string& gateway, const std::string& link) {
  IpAddress to = parse_address(destination);
  NetlinkMessage message(type, flags);
  auto* header = message.header<rtmsg>();
  header->rtm_family = static_cast<uint8_t>(to.family);
  header->rtm_dst_len = to.prefix;
  header->rtm_table = RT_TABLE_MAIN;
  header->rtm_protocol = RTPROT_BOOT;
  header->rtm_type = RTN_UNICAST;
  header->rtm_scope = gateway.empty() ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  if (to.prefix > 0) message.put(RTA_DST, to.bytes, to.size());
  if (!gateway.empty()) {
    IpAddress via = parse_address(gateway);
    if (via.family != to.family) throw InvalidInput("gateway of another family: " + gateway);
    message.put(RTA_GATEWAY, via.bytes, via.size());
  }
  if (!link.empty()) message.put_u32(RTA_OIF, static_cast<uint32_t>(index_of(link)));
  return message;
}

void Rtnl::add_route(const std::string& destination, const std::string& gateway, const std::string& link) {
  NetlinkMessage message = route_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, destination, gateway, link);
  check(socket_.request(message), "add route", destination);
}

void Rtnl::delete_route(const std::string& destination, const std::string& gateway, const std::string& link) {
  NetlinkMessage message = route_message(RTM_DELROUTE, 0, destination, gateway, link);
  int err = socket_.request(message);
  if (err != ESRCH) check(err, "delete route", destination);
}

void Rtnl::add_neighbour(const std::string& link, const std::string& address, const std::string& mac) {
  IpAddress to = parse_address(address);
  auto hardware = parse_mac(mac);
  NetlinkMessage message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  auto* header = message.header<ndmsg>();
  header->ndm_family = static_cast<uint8_t>(to.family);
  header->ndm_ifindex = index_of(link);
  header->ndm_state = NUD_PERMANENT;
  message.put(NDA_DST, to.bytes, to.size());
  message.put(NDA_LLADDR, hardware.data(), hardware.size());
  check(socket_.request(message), "add neighbour", address);
}

void Rtnl::delete_neighbour(const std::string& link, const std::string& address) {
  IpAddress to = parse_address(address);
  NetlinkMessage message(RTM_DELNEIGH, 0);
  auto* header = message.header<ndmsg>();
  header->ndm_family = static_cast<uint8_t>(to.family);
  header->ndm_ifindex = index_of(link);
  message.put(NDA_DST, to.bytes, to.size());
  int err = socket_.request(message);
  if (err != ENOENT) check(err, "delete neighbour", address);
}

std::vector<LinkInfo> Rtnl::links() {
  std::vector<LinkInfo> links;
  std::map<int, size_t> by_index;
  socket_.dump(
      [] {
        NetlinkMessage message(RTM_GETLINK, 0);
        message.header<ifinfomsg>()->ifi_family = AF_UNSPEC;
        return message;
      },
      [&](const nlmsghdr* header) {
        const auto* info = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(header));
        LinkInfo link;
        link.index = info->ifi_index;
        link.up = (info->ifi_flags & IFF_UP) != 0;
        for (const nlattr* attribute : attributes(header, sizeof *info)) {
          const void* data = mnl_attr_get_payload(attribute);
          size_t size = mnl_attr_get_payload_len(attribute);
          switch (mnl_attr_get_type(attribute)) {
            case IFLA_IFNAME:
              link.name = mnl_attr_get_str(attribute);
              break;
            case IFLA_IFALIAS:
              link.alias.assign(static_cast<const char*>(data), ::strnlen(static_cast<const char*>(data), size));
              break;
            case IFLA_ADDRESS:
              link.mac = format_mac(static_cast<const uint8_t*>(data), size);
              break;
            case IFLA_MTU:
              link.mtu = mnl_attr_get_u32(attribute);
              break;
            case IFLA_MASTER:
              link.master = static_cast<int>(mnl_attr_get_u32(attribute));
              break;
            case IFLA_LINKINFO: {
              for (const nlattr* inner : nested_attributes(attribute)) {
                if (mnl_attr_get_type(inner) == IFLA_INFO_KIND) link.kind = mnl_attr_get_str(inner);
              }
              break;
            }
            case IFLA_STATS64: {
              rtnl_link_stats64 stats{};
              std::memcpy(&stats, data, std::min(size, sizeof stats));
              link.counters = {stats.rx_bytes, stats.rx_packets, stats.rx_errors, stats.rx_dropped,
                               stats.tx_bytes, stats.tx_packets, stats.tx_errors, stats.tx_dropped};
              break;
            }
            default:
              break;
          }
        }
        by_index[link.index] = links.size();
        links.push_back(std::move(link));
      },
      [&] {
        links.clear();
        by_index.clear();
      });
  auto forget_addresses = [&] {
    for (LinkInfo& link : links) link.addresses.clear();
  };
  socket_.dump(
      [] {
        NetlinkMessage message(RTM_GETADDR, 0);
        message.header<ifaddrmsg>()->ifa_family = AF_UNSPEC;
        return message;
      },
      [&](const nlmsghdr* header) {
        const auto* info = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(header));
        auto found = by_index.find(static_cast<int>(info->ifa_index));
        if (found == by_index.end()) return;
        std::string local;
        std::string address;
        for (const nlattr* attribute : attributes(header, sizeof *info)) {
          uint16_t type = mnl_attr_get_type(attribute);
          if (type == IFA_LOCAL) local = format_address(info->ifa_family, mnl_attr_get_payload(attribute));
          if (type == IFA_ADDRESS) address = format_address(info->ifa_family, mnl_attr_get_payload(attribute));
        }
        links[found->second].addresses.push_back((local.empty() ? address : local) + "/" +
                                                 std::to_string(info->ifa_prefixlen));
      },
      forget_addresses);
  return links;
}

std::vector<RouteInfo> Rtnl::routes() {
  std::vector<RouteInfo> routes;
  socket_.dump(
      [] {
        NetlinkMessage message(RTM_GETROUTE, 0);
        message.header<rtmsg>()->rtm_family = AF_UNSPEC;
        return message;
      },
      [&](const nlmsghdr* header) {
        const auto* info = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(header));
        if (info->rtm_table != RT_TABLE_MAIN || info->rtm_type != RTN_UNICAST) return;
        if (info->rtm_family != AF_INET && info->rtm_family != AF_INET6) return;
        RouteInfo route;
        route.destination = info->rtm_family == AF_INET ? "0.0.0.0" : "::";
        for (const nlattr* attribute : attributes(header, sizeof *info)) {
          const void* data = mnl_attr_get_payload(attribute);
          switch (mnl_attr_get_type(attribute)) {
            case RTA_DST:
              route.destination = format_address(info->rtm_family, data);
              break;
            case RTA_GATEWAY:
              route.gateway = format_address(info->rtm_family, data);
              break;
            case RTA_OIF: {
              char name[IF_NAMESIZE];
              if (::if_indextoname(mnl_attr_get_u32(attribute), name)) route.link = name;
              break;
            }
            default:
              break;
          }
        }
        route.destination += "/" + std::to_string(info->rtm_dst_len);
        routes.push_back(std::move(route));
      },
      [&] { routes.clear(); });
  return routes;
}

}  // namespace gantry
