#include "gantry/conntrack.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <cstring>
#include <optional>
#include <vector>

#include "gantry/error.h"
#include "gantry/netlink.h"

namespace gantry {

namespace {

using Address = std::vector<uint8_t>;

struct Tuple {
  Address source;
  Address destination;
  uint16_t destination_port = 0;
  uint8_t protocol = 0;
};

constexpr uint16_t message_type(uint16_t type) { return static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type); }

Address address_of(const nlattr* attribute) {
  const auto* bytes = static_cast<const uint8_t*>(mnl_attr_get_payload(attribute));
  return {bytes, bytes + mnl_attr_get_payload_len(attribute)};
}

Tuple parse_tuple(const nlattr* attribute) {
  Tuple tuple;
  for (const nlattr* part : nested_attributes(attribute)) {
    for (const nlattr* inner : nested_attributes(part)) {
      uint16_t type = mnl_attr_get_type(inner);
      if (mnl_attr_get_type(part) == CTA_TUPLE_IP) {
        if (type == CTA_IP_V4_SRC || type == CTA_IP_V6_SRC) tuple.source = address_of(inner);
        if (type == CTA_IP_V4_DST || type == CTA_IP_V6_DST) tuple.destination = address_of(inner);
      } else if (mnl_attr_get_type(part) == CTA_TUPLE_PROTO) {
        if (type == CTA_PROTO_NUM) tuple.protocol = mnl_attr_get_u8(inner);
        if (type == CTA_PROTO_DST_PORT) tuple.destination_port = ntohs(mnl_attr_get_u16(inner));
      }
    }
  }
  return tuple;
}

std::optional<Address> parse_address(const std::string& text, bool v6) {
  if (text.empty()) return std::nullopt;
  Address address(v6 ? 16 : 4);
  if (::inet_pton(v6 ? AF_INET6 : AF_INET, text.c_str(), address.data()) != 1)
    throw InvalidInput("invalid address: " + text);
  return address;
}

}  // namespace

int flush_flows(const FlowFilter& filter) {
  auto destination = parse_address(filter.original_destination, filter.v6);
  auto reply_source = parse_address(filter.reply_source, filter.v6);
  const uint8_t family = filter.v6 ? AF_INET6 : AF_INET;
  NetlinkSocket socket(NETLINK_NETFILTER);
  struct Found {
    std::vector<uint8_t> original;
    uint32_t id = 0;
  };
  std::vector<Found> found;
  socket.dump(
      [family] {
        NetlinkMessage message(message_type(IPCTNL_MSG_CT_GET), 0);
        message.header<nfgenmsg>()->nfgen_family = family;
        return message;
      },
      [&](const nlmsghdr* header) {
        Tuple original;
        Tuple reply;
        Found flow;
        for (const nlattr* attribute : attributes(header, sizeof(nfgenmsg))) {
          switch (mnl_attr_get_type(attribute)) {
            case CTA_TUPLE_ORIG: {
              original = parse_tuple(attribute);
              const auto* data = static_cast<const uint8_t*>(mnl_attr_get_payload(attribute));
              flow.original.assign(data, data + mnl_attr_get_payload_len(attribute));
              break;
            }
            case CTA_TUPLE_REPLY:
              reply = parse_tuple(attribute);
              break;
            case CTA_ID:
              flow.id = mnl_attr_get_u32(attribute);
              break;
            default:
              break;
          }
        }
        if (filter.protocol && original.protocol != filter.protocol) return;
        if (filter.original_port && original.destination_port != filter.original_port) return;
        if (destination && original.destination != *destination) return;
        if (reply_source && reply.source != *reply_source) return;
        found.push_back(std::move(flow));
      },
      [&] { found.clear(); });
  int removed = 0;
  for (const Found& flow : found) {
    NetlinkMessage message(message_type(IPCTNL_MSG_CT_DELETE), 0);
    message.header<nfgenmsg>()->nfgen_family = family;
    message.put(CTA_TUPLE_ORIG | NLA_F_NESTED, flow.original.data(), flow.original.size());
    message.put_u32(CTA_ID, flow.id);
    // Gone by itself meanwhile is as good.
    if (socket.request(message) == 0) removed++;
  }
  return removed;
}

}  // namespace gantry
