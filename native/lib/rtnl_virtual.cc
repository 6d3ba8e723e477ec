#include <arpa/inet.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <map>

#include "gantry/address.h"
#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/rtnl.h"

namespace gantry {

namespace {

uint32_t value_of(const std::map<std::string, uint32_t>& words, const std::string& word, const char* what) {
  auto found = words.find(word);
  if (found == words.end()) throw InvalidInput(std::string("unknown ") + what + ": " + word);
  return found->second;
}

void put_macvlan(NetlinkMessage& message, const VirtualLink& link) {
  static const std::map<std::string, uint32_t> modes = {{"bridge", MACVLAN_MODE_BRIDGE},
                                                        {"private", MACVLAN_MODE_PRIVATE},
                                                        {"vepa", MACVLAN_MODE_VEPA},
                                                        {"passthru", MACVLAN_MODE_PASSTHRU}};
  message.put_u32(IFLA_MACVLAN_MODE, value_of(modes, link.mode, "macvlan mode"));
}

void put_ipvlan(NetlinkMessage& message, const VirtualLink& link) {
  static const std::map<std::string, uint32_t> modes = {
      {"l2", IPVLAN_MODE_L2}, {"l3", IPVLAN_MODE_L3}, {"l3s", IPVLAN_MODE_L3S}};
  static const std::map<std::string, uint32_t> flags = {
      {"", 0}, {"bridge", 0}, {"private", IPVLAN_F_PRIVATE}, {"vepa", IPVLAN_F_VEPA}};
  message.put_u16(IFLA_IPVLAN_MODE, static_cast<uint16_t>(value_of(modes, link.mode, "ipvlan mode")));
  message.put_u16(IFLA_IPVLAN_FLAGS, static_cast<uint16_t>(value_of(flags, link.flag, "ipvlan flag")));
}

void put_vxlan(NetlinkMessage& message, const VirtualLink& link) {
  message.put_u32(IFLA_VXLAN_ID, link.id);
  uint16_t port = htons(link.port);
  message.put_u16(IFLA_VXLAN_PORT, port);
  IpAddress local = parse_address(link.local);
  message.put(local.family == AF_INET ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, local.bytes, local.size());
  // Who is where is told, never learned from packets, and nothing is sent to find out: questions for neighbours are
  // answered by the link itself, and what it has no entry for is dropped.
  message.put_u8(IFLA_VXLAN_LEARNING, 0);
  message.put_u8(IFLA_VXLAN_PROXY, 1);
  message.put_u8(IFLA_VXLAN_L2MISS, 0);
  message.put_u8(IFLA_VXLAN_L3MISS, 0);
}

}  // namespace

void Rtnl::add_virtual(const std::string& name, const LinkSettings& settings, const VirtualLink& link) {
  check_link_name(name);
  UniqueFd target;
  if (!link.target_namespace.empty()) {
    target.reset(::open(link.target_namespace.c_str(), O_RDONLY | O_CLOEXEC));
    if (!target) throw_errno("open", link.target_namespace);
  }
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.header<ifinfomsg>()->ifi_family = AF_UNSPEC;
  message.put_string(IFLA_IFNAME, name);
  if (!link.parent.empty()) message.put_u32(IFLA_LINK, static_cast<uint32_t>(index_of(link.parent)));
  if (target) message.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(target.get()));
  put_settings(message, settings);
  message.nest(IFLA_LINKINFO, [&] {
    message.put_string(IFLA_INFO_KIND, link.kind);
    message.nest(IFLA_INFO_DATA, [&] {
      if (link.kind == "vlan") {
        message.put_u16(IFLA_VLAN_ID, static_cast<uint16_t>(link.id));
      } else if (link.kind == "macvlan") {
        put_macvlan(message, link);
      } else if (link.kind == "ipvlan") {
        put_ipvlan(message, link);
      } else if (link.kind == "vxlan") {
        put_vxlan(message, link);
      } else {
        throw InvalidInput("unknown kind of link: " + link.kind);
      }
    });
  });
  check(socket_.request(message), ("add " + link.kind).c_str(), name);
  // What the kernel does not take at creation. In another namespace the caller goes on from there.
  LinkSettings rest;
  rest.alias = settings.alias;
  rest.up = settings.up;
  if (target || (!rest.alias && !rest.up)) return;
  try {
    set_link(name, rest);
  } catch (...) {
    delete_link(name);
    throw;
  }
}

NetlinkMessage Rtnl::forwarding_message(uint16_t type, uint16_t flags, const std::string& link, const std::string& mac,
                                        const std::string& destination) {
  auto hardware = parse_mac(mac);
  NetlinkMessage message(type, flags);
  auto* header = message.header<ndmsg>();
  header->ndm_family = AF_BRIDGE;
  header->ndm_ifindex = index_of(link);
  if (destination.empty()) {
    // Of the bridge that the link is a port of. No frame with the address as its source moves a sticky entry elsewhere.
    header->ndm_flags = NTF_MASTER | NTF_STICKY;
    header->ndm_state = NUD_NOARP;
  } else {
    header->ndm_flags = NTF_SELF;
    header->ndm_state = NUD_PERMANENT;
  }
  message.put(NDA_LLADDR, hardware.data(), hardware.size());
  if (!destination.empty()) {
    IpAddress to = parse_address(destination);
    message.put(NDA_DST, to.bytes, to.size());
  }
  return message;
}

void Rtnl::add_forwarding(const std::string& link, const std::string& mac, const std::string& destination) {
  NetlinkMessage message = forwarding_message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, link, mac, destination);
  check(socket_.request(message), "add forwarding entry", mac + " to " + link);
}

void Rtnl::delete_forwarding(const std::string& link, const std::string& mac, const std::string& destination) {
  NetlinkMessage message = forwarding_message(RTM_DELNEIGH, 0, link, mac, destination);
  int err = socket_.request(message);
  if (err != ENOENT) check(err, "delete forwarding entry", mac + " of " + link);
}

std::vector<NeighbourInfo> Rtnl::neighbours(const std::string& link) {
  std::vector<NeighbourInfo> found;
  int index = index_of(link);
  for (int family : {AF_BRIDGE, AF_INET, AF_INET6}) {
    size_t before = found.size();
    socket_.dump(
        [&] {
          NetlinkMessage message(RTM_GETNEIGH, 0);
          message.header<ndmsg>()->ndm_family = static_cast<uint8_t>(family);
          return message;
        },
        [&](const nlmsghdr* header) {
          const auto* info = static_cast<const ndmsg*>(mnl_nlmsg_get_payload(header));
          if (info->ndm_ifindex != index || info->ndm_family != family) return;
          NeighbourInfo entry;
          for (const nlattr* attribute : attributes(header, sizeof *info)) {
            const void* data = mnl_attr_get_payload(attribute);
            size_t size = mnl_attr_get_payload_len(attribute);
            uint16_t type = mnl_attr_get_type(attribute);
            if (type == NDA_LLADDR) entry.mac = format_mac(static_cast<const uint8_t*>(data), size);
            if (type != NDA_DST || (size != 4 && size != 16)) continue;
            (family == AF_BRIDGE ? entry.destination : entry.address) =
                format_address(size == 4 ? AF_INET : AF_INET6, data);
          }
          // On a bridge NUD_PERMANENT is the port's own address, and what is sticky is ours.
          bool ours = family == AF_BRIDGE && entry.destination.empty() ? (info->ndm_flags & NTF_STICKY) != 0
                                                                       : (info->ndm_state & NUD_PERMANENT) != 0;
          if (ours) found.push_back(std::move(entry));
        },
        [&] { found.resize(before); });
  }
  return found;
}

}  // namespace gantry
