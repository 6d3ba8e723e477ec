#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cstring>
#include <map>

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

std::vector<std::string> list_elements(NetlinkSocket& socket, const Table& table, const KernelSet& set) {
  std::vector<std::string> elements;
  /// Ends sort before starts of the same address, so neighbours pair up.
  std::vector<std::pair<Bytes, bool>> edges;
  socket.dump(
      [&] {
        NetlinkMessage message = make_message(NFT_MSG_GETSETELEM, 0, table.family);
        message.put_string(NFTA_SET_ELEM_LIST_TABLE, table.name);
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
            Bytes edge;
            for (const nlattr* part : nested_attributes(element)) {
              switch (mnl_attr_get_type(part)) {
                case NFTA_SET_ELEM_KEY: {
                  key = decode_tuple(set.key, part);
                  const auto* value = static_cast<const nlattr*>(mnl_attr_get_payload(part));
                  const auto* bytes = static_cast<const uint8_t*>(mnl_attr_get_payload(value));
                  if (set.interval) edge.assign(bytes, bytes + mnl_attr_get_payload_len(value));
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
    const Bytes& first = edges[i].first;
    if (first.size() != info(set.key[0]).size) continue;
    // The range ends before the next edge, and is a CIDR: the bits in which its ends differ are those that it leaves
    // open.
    Bytes last(first.size(), 0xff);
    if (i + 1 < edges.size()) {
      last = edges[i + 1].first;
      for (size_t at = last.size(); at-- > 0 && last[at]-- == 0;) {
      }
    }
    size_t prefix = 0;
    while (prefix < first.size() * 8 && ((first[prefix / 8] ^ last[prefix / 8]) & (0x80 >> (prefix % 8))) == 0)
      prefix++;
    elements.push_back(decode(set.key[0], first.data()) + "/" + std::to_string(prefix));
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

std::optional<Listing> list(const std::string& name, Family family) {
  Table table;
  table.name = name;
  table.family = family;
  NetlinkSocket socket(NETLINK_NETFILTER);
  NetlinkMessage probe = table_message(NFT_MSG_GETTABLE, 0, table);
  int err = socket.request(probe);
  if (err == ENOENT) return std::nullopt;
  if (err != 0) throw SysError(err, "nftables get table", name);

  Listing listing;
  std::vector<KernelSet> sets;
  socket.dump(
      [&] {
        NetlinkMessage message = make_message(NFT_MSG_GETSET, 0, family);
        message.put_string(NFTA_SET_TABLE, name);
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

  socket.dump([&] { return make_message(NFT_MSG_GETCHAIN, 0, family); },
              [&](const nlmsghdr* header) {
                std::string owner;
                std::string chain;
                for (const nlattr* attribute : attributes(header, sizeof(nfgenmsg))) {
                  if (mnl_attr_get_type(attribute) == NFTA_CHAIN_TABLE) owner = mnl_attr_get_str(attribute);
                  if (mnl_attr_get_type(attribute) == NFTA_CHAIN_NAME) chain = mnl_attr_get_str(attribute);
                }
                if (owner == name) listing.chains[chain];
              },
              [&] { listing.chains.clear(); });
  socket.dump(
      [&] {
        NetlinkMessage message = make_message(NFT_MSG_GETRULE, 0, family);
        message.put_string(NFTA_RULE_TABLE, name);
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

std::vector<BaseChain> base_chains() {
  static const std::map<uint8_t, const char*> kFamilies{
      {NFPROTO_IPV4, "ip"}, {NFPROTO_IPV6, "ip6"}, {NFPROTO_INET, "inet"}};
  static const std::map<uint32_t, const char*> kHooks{{NF_INET_PRE_ROUTING, "prerouting"},
                                                      {NF_INET_LOCAL_IN, "input"},
                                                      {NF_INET_FORWARD, "forward"},
                                                      {NF_INET_LOCAL_OUT, "output"},
                                                      {NF_INET_POST_ROUTING, "postrouting"}};
  NetlinkSocket socket(NETLINK_NETFILTER);
  std::vector<BaseChain> chains;
  socket.dump([] { return make_message(NFT_MSG_GETCHAIN, 0, Family{NFPROTO_UNSPEC}); },
              [&](const nlmsghdr* header) {
                const auto* generic = static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(header));
                auto family = kFamilies.find(generic->nfgen_family);
                if (family == kFamilies.end()) return;
                BaseChain chain;
                chain.family = family->second;
                for (const nlattr* attribute : attributes(header, sizeof(nfgenmsg))) {
                  uint16_t type = mnl_attr_get_type(attribute);
                  if (type == NFTA_CHAIN_TABLE) chain.table = mnl_attr_get_str(attribute);
                  if (type == NFTA_CHAIN_NAME) chain.name = mnl_attr_get_str(attribute);
                  if (type == NFTA_CHAIN_POLICY) chain.drops = ntohl(mnl_attr_get_u32(attribute)) == NF_DROP;
                  if (type != NFTA_CHAIN_HOOK) continue;
                  for (const nlattr* part : nested_attributes(attribute)) {
                    uint32_t value = mnl_attr_get_payload_len(part) == 4 ? ntohl(mnl_attr_get_u32(part)) : 0;
                    if (mnl_attr_get_type(part) == NFTA_HOOK_HOOKNUM && kHooks.contains(value))
                      chain.hook = kHooks.at(value);
                    if (mnl_attr_get_type(part) == NFTA_HOOK_PRIORITY) chain.priority = static_cast<int>(value);
                  }
                }
                if (!chain.hook.empty()) chains.push_back(std::move(chain));
              },
              [&] { chains.clear(); });
  return chains;
}

}  // namespace gantry::nft
