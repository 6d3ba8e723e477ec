#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cstring>

#include "gantry/error.h"
#include "nft_message.h"

namespace gantry::nft {

namespace {

struct KernelSet {
  std::string name;
  std::vector<Type> key;
  std::vector<Type> data;
  bool interval = false;
};

std::vector<std::string> list_elements(NetlinkSocket& socket, const std::string& table, const KernelSet& set) {
  std::vector<std::string> elements;
  /// Ends sort before starts of the same address, so neighbours pair up.
  std::vector<std::pair<uint32_t, bool>> edges;
  socket.dump(
      [&] {
        NetlinkMessage message = make_message(NFT_MSG_GETSETELEM, 0);
        message.put_string(NFTA_SET_ELEM_LIST_TABLE, table);
        message.put_string(NFTA_SET_ELEM_LIST_SET, set.name);
        return message;
      },
      [&](const nlmsghdr* header) {
        for (const nlattr* attribute : attributes(header, sizeof(nfgenmsg))) {
          if (mnl_attr_get_type(attribute) != NFTA_SET_ELEM_LIST_ELEMENTS) continue;
          for (const nlattr* element : nested_attributes(attribute)) {
            std::string key;
            std::string data;
            uint32_t flags = 0;
            uint32_t edge = 0;
            for (const nlattr* part : nested_attributes(element)) {
              switch (mnl_attr_get_type(part)) {
                case NFTA_SET_ELEM_KEY: {
                  key = decode_tuple(set.key, part);
                  const auto* value = static_cast<const nlattr*>(mnl_attr_get_payload(part));
                  if (set.interval && mnl_attr_get_payload_len(value) == 4) edge = ntohl(mnl_attr_get_u32(value));
                  break;
                }
                case NFTA_SET_ELEM_DATA:
                  data = decode_tuple(set.data, part);
                  break;
                case NFTA_SET_ELEM_FLAGS:
                  flags = ntohl(mnl_attr_get_u32(part));
                  break;
                default:
                  break;
              }
            }
            if (set.interval)
              edges.emplace_back(edge, (flags & NFT_SET_ELEM_INTERVAL_END) == 0);
            else
              elements.push_back(data.empty() ? key : key + " : " + data);
          }
        }
      },
      [&] {
        elements.clear();
        edges.clear();
      });
  std::sort(edges.begin(), edges.end());
  for (size_t i = 0; i < edges.size(); i++) {
    if (!edges[i].second) continue;
    uint32_t last = i + 1 < edges.size() ? edges[i + 1].first - 1 : UINT32_MAX;
    uint32_t size = last - edges[i].first;
    unsigned prefix = 32;
    while (size != 0) {
      size >>= 1;
      prefix--;
    }
    Bytes address = be_u32(edges[i].first);
    elements.push_back(decode(Type::ipv4, address.data()) + "/" + std::to_string(prefix));
  }
  std::sort(elements.begin(), elements.end());
  return elements;
}

std::string comment_of(const nlattr* attribute) {
  const auto* bytes = static_cast<const uint8_t*>(mnl_attr_get_payload(attribute));
  size_t size = mnl_attr_get_payload_len(attribute);
  for (size_t at = 0; at + 2 <= size && at + 2 + bytes[at + 1] <= size; at += 2u + bytes[at + 1]) {
    if (bytes[at] != kCommentTag) continue;
    const char* text = reinterpret_cast<const char*>(bytes + at + 2);
    return {text, ::strnlen(text, bytes[at + 1])};
  }
  return {};
}

}  // namespace

std::optional<Listing> list(const std::string& table) {
  NetlinkSocket socket(NETLINK_NETFILTER);
  NetlinkMessage probe = table_message(NFT_MSG_GETTABLE, 0, table);
  int err = socket.request(probe);
  if (err == ENOENT) return std::nullopt;
  if (err != 0) throw SysError(err, "nftables get table", table);

  Listing listing;
  std::vector<KernelSet> sets;
  socket.dump(
      [&] {
        NetlinkMessage message = make_message(NFT_MSG_GETSET, 0);
        message.put_string(NFTA_SET_TABLE, table);
        return message;
      },
      [&](const nlmsghdr* header) {
        KernelSet set;
        for (const nlattr* attribute : attributes(header, sizeof(nfgenmsg))) {
          uint16_t type = mnl_attr_get_type(attribute);
          if (type == NFTA_SET_NAME) set.name = mnl_attr_get_str(attribute);
          if (type == NFTA_SET_KEY_TYPE) set.key = types_of(ntohl(mnl_attr_get_u32(attribute)));
          if (type == NFTA_SET_DATA_TYPE && ntohl(mnl_attr_get_u32(attribute)) != NFT_DATA_VERDICT)
            set.data = types_of(ntohl(mnl_attr_get_u32(attribute)));
          if (type == NFTA_SET_FLAGS) set.interval = (ntohl(mnl_attr_get_u32(attribute)) & NFT_SET_INTERVAL) != 0;
        }
        sets.push_back(std::move(set));
      },
      [&] { sets.clear(); });
  for (const KernelSet& set : sets) listing.sets[set.name] = list_elements(socket, table, set);

  socket.dump([] { return make_message(NFT_MSG_GETCHAIN, 0); },
              [&](const nlmsghdr* header) {
                std::string owner;
                std::string name;
                for (const nlattr* attribute : attributes(header, sizeof(nfgenmsg))) {
                  if (mnl_attr_get_type(attribute) == NFTA_CHAIN_TABLE) owner = mnl_attr_get_str(attribute);
                  if (mnl_attr_get_type(attribute) == NFTA_CHAIN_NAME) name = mnl_attr_get_str(attribute);
                }
                if (owner == table) listing.chains[name];
              },
              [&] { listing.chains.clear(); });
  socket.dump(
      [&] {
        NetlinkMessage message = make_message(NFT_MSG_GETRULE, 0);
        message.put_string(NFTA_RULE_TABLE, table);
        return message;
      },
      [&](const nlmsghdr* header) {
        std::string chain;
        std::string comment;
        for (const nlattr* attribute : attributes(header, sizeof(nfgenmsg))) {
          if (mnl_attr_get_type(attribute) == NFTA_RULE_CHAIN) chain = mnl_attr_get_str(attribute);
          if (mnl_attr_get_type(attribute) == NFTA_RULE_USERDATA) comment = comment_of(attribute);
        }
        listing.chains[chain].push_back(std::move(comment));
      },
      [&] {
        for (auto& [name, rules] : listing.chains) rules.clear();
      });
  return listing;
}

}  // namespace gantry::nft
