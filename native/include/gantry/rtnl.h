#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gantry/netlink.h"

namespace gantry {

/// What a new link gets, or an existing one is changed to. Absent members are left as they are.
struct LinkSettings {
  std::optional<std::string> rename;
  std::optional<std::string> mac;
  std::optional<uint32_t> mtu;
  std::optional<bool> up;
  /// '' for none.
  std::optional<std::string> master;
  std::optional<std::string> alias;
  /// Path of the namespace to move to.
  std::optional<std::string> target_namespace;
  /// Bridge port: does not talk to other isolated ports.
  std::optional<bool> isolated;
  /// Bridge port: frames may leave by the port that they came in by.
  std::optional<bool> hairpin;
  /// Bridge port: the bridge takes where addresses are from the frames that come in.
  std::optional<bool> learning;
};

/// A link on top of another, or the end of a tunnel.
struct VirtualLink {
  /// `vlan`, `macvlan`, `ipvlan`, `vxlan`.
  std::string kind;
  /// The link below; '' for a vxlan.
  std::string parent;
  /// macvlan: `bridge private vepa passthru`; ipvlan: `l2 l3 l3s`.
  std::string mode;
  /// ipvlan: `bridge private vepa`, '' for bridge.
  std::string flag;
  /// vlan: its number; vxlan: the VNI.
  uint32_t id = 0;
  /// vxlan: this host's end, and the UDP port of every host.
  std::string local;
  uint16_t port = 0;
  /// Path of the namespace that it is born in; '' for this one, where a vxlan's packets travel in any case.
  std::string target_namespace;
};

/// InvalidInput for what cannot be a link's name.
void check_link_name(const std::string& name);

struct VethPeer {
  std::string name;
  std::string mac;
  uint32_t mtu = 0;
  /// Path of the namespace that it is born in; '' for this one.
  std::string target_namespace;
};

struct LinkCounters {
  uint64_t rx_bytes = 0, rx_packets = 0, rx_errors = 0, rx_dropped = 0;
  uint64_t tx_bytes = 0, tx_packets = 0, tx_errors = 0, tx_dropped = 0;
};

struct LinkInfo {
  int index = 0;
  std::string name;
  std::string kind;
  std::string alias;
  std::string mac;
  uint32_t mtu = 0;
  bool up = false;
  int master = 0;
  std::vector<std::string> addresses;
  LinkCounters counters;
};

/// An entry that somebody wrote, not one that the kernel learned: of a link's neighbours or its forwarding table.
struct NeighbourInfo {
  std::string mac;
  /// '' for a forwarding entry.
  std::string address;
  /// Of a vxlan's forwarding entry the host.
  std::string destination;
};

struct RouteInfo {
  /// CIDR; `0.0.0.0/0` and `::/0` for a default route.
  std::string destination;
  std::string gateway;
  std::string link;
};

/// Links, addresses, routes and neighbours of the namespace that the calling thread is in. "Add" of what is there
/// with the same value succeeds, and so does "delete" of what is absent. Failures are SysError with the link's or
/// address's name as the path.
class Rtnl {
 public:
  Rtnl();

  /// Fails with EEXIST when a link has the name.
  void add_bridge(const std::string& name, const LinkSettings& settings);
  /// A pair whose far end is born in its namespace, with its name, address and size, down. EEXIST as above.
  void add_veth(const std::string& name, const LinkSettings& settings, const VethPeer& peer);
  /// EEXIST as above. Alias and state only where it is not born elsewhere.
  void add_virtual(const std::string& name, const LinkSettings& settings, const VirtualLink& link);
  void set_link(const std::string& name, const LinkSettings& settings);
  void delete_link(const std::string& name);
  /// All at once: the kernel waits some 40 ms for a link's users to let go of it, and here once for all of them.
  void delete_links(const std::vector<std::string>& names);
  void add_address(const std::string& link, const std::string& cidr);
  void delete_address(const std::string& link, const std::string& cidr);
  /// `gateway` '' for on-link.
  void add_route(const std::string& destination, const std::string& gateway, const std::string& link);
  void delete_route(const std::string& destination, const std::string& gateway, const std::string& link);
  void add_neighbour(const std::string& link, const std::string& address, const std::string& mac);
  void delete_neighbour(const std::string& link, const std::string& address);
  /// Where frames for `mac` go: from a vxlan to the host `destination`, or, when that is '', on the link's bridge to
  /// this port, whatever frames say. Replaces an entry of the same kind.
  void add_forwarding(const std::string& link, const std::string& mac, const std::string& destination);
  void delete_forwarding(const std::string& link, const std::string& mac, const std::string& destination);

  /// What `add_neighbour` and `add_forwarding` made, an entry of the link's bridge without address and destination.
  std::vector<NeighbourInfo> neighbours(const std::string& link);

  std::vector<LinkInfo> links();
  /// Of the main table, unicast.
  std::vector<RouteInfo> routes();

 private:
  void check(int err, const char* operation, const std::string& subject);
  void put_settings(NetlinkMessage& message, const LinkSettings& settings);
  void set_port(int index, const std::string& name, const LinkSettings& settings);
  int index_of(const std::string& name);
  uint32_t free_group();
  NetlinkMessage route_message(uint16_t type, uint16_t flags, const std::string& destination,
                               const std::string& gateway, const std::string& link);
  NetlinkMessage forwarding_message(uint16_t type, uint16_t flags, const std::string& link, const std::string& mac,
                                    const std::string& destination);

  NetlinkSocket socket_;
};

}  // namespace gantry
