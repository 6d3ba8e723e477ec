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

struct Tuple {
  uint32_t source = 0;
  uint32_t destination = 0;
  uint16_t destination_port = 0;
  uint8_t protocol = 0;
};

constexpr uint16_t message_type(uint16_t type) { return static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | type); }

Tuple parse_tuple(const nlattr* attribute) {
  Tuple tuple;
  for (const nlattr* part : nested_attributes(attribute)) {
    for (const nlattr* inner : nested_attributes(part)) {
      uint16_t type = mnl_attr_get_type(inner);
      if (mnl_attr_get_type(part) == CTA_TUPLE_IP) {
        if (type == CTA_IP_V4_SRC) tuple.source = mnl_attr_get_u32(inner);
        if (type == CTA_IP_V4_DST) tuple.destination = mnl_attr_get_u32(inner);
      } else if (mnl_attr_get_type(part) == CTA_TUPLE_PROTO) {
        if (type == CTA_PROTO_NUM) tuple.protocol = mnl_attr_get_u8(inner);
        if (type == CTA_PROTO_DST_PORT) tuple.destination_port = ntohs(mnl_attr_get_u16(inner));
      }
    }
  }
  return tuple;
}

std::optional<uint32_t> parse_v4(const std::string& text) {
  if (text.empty()) return std::nullopt;
  uint32_t address;
  if (::inet_pton(AF_INET, text.c_str(), &address) != 1) throw InvalidInput("invalid address: " + text);
  return address;
}

}  // namespace

int flush_flows(const FlowFilter& filter) {
  auto destination = parse_v4(filter.original_destination);
  auto reply_source = parse_v4(filter.reply_source);
  NetlinkSocket socket(NETLINK_NETFILTER);
  struct Found {
    std::vector<uint8_t> original;
    uint32_t id = 0;
  };
  std::vector<Found> found;
  socket.dump(
      [] {
        NetlinkMessage message(message_type(IPCTNL_MSG_CT_GET), 0);
        message.header<nfgenmsg>()->nfgen_family = AF_INET;
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
    message.header<nfgenmsg>()->nfgen_family = AF_INET;
    message.put(CTA_TUPLE_ORIG | NLA_F_NESTED, flow.original.data(), flow.original.size());
    message.put_u32(CTA_ID, flow.id);
    // Gone by itself meanwhile is as good.
    if (socket.request(message) == 0) removed++;
  }
  return removed;
}

}  // namespace gantry
