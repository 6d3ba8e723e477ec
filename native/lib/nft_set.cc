#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>

#include "gantry/error.h"
#include "nft_message.h"

namespace gantry::nft {

namespace {

/// An attribute's length has 16 bits, and the largest element here takes some 150 bytes.
constexpr size_t kElementsPerMessage = 300;
/// NFTNL_UDATA_SET_KEYBYTEORDER, likewise.
constexpr uint8_t kByteOrderTag = 0;

void put_element(NetlinkMessage& message, const Set& set, const Element& element, bool with_data) {
  auto put = [&](const Bytes& key, uint32_t flags) {
    message.nest(NFTA_LIST_ELEM, [&] {
      put_data(message, NFTA_SET_ELEM_KEY, key);
      if (flags) message.put_be32(NFTA_SET_ELEM_FLAGS, flags);
      if (!with_data || flags) return;
      if (element.verdict)
        put_verdict(message, NFTA_SET_ELEM_DATA, *element.verdict);
      else if (!set.data.empty())
        put_data(message, NFTA_SET_ELEM_DATA, encode_tuple(set.data, element.data));
    });
  };
  if (!set.interval) return put(encode_tuple(set.key, element.key), 0);
  if (set.key.size() != 1 || (set.key[0] != Type::ipv4 && set.key[0] != Type::ipv6) || element.key.size() != 1)
    throw InvalidInput("an interval set has one address part");
  Cidr cidr = parse_cidr(element.key[0], set.key[0]);
  put(cidr.first, 0);
  Bytes end = cidr.first;
  for (size_t i = 0; i < end.size(); i++) end[i] |= static_cast<uint8_t>(~cidr.mask[i]);
  // The last address of all has no end element.
  if (increment(end)) put(end, NFT_SET_ELEM_INTERVAL_END);
}

}  // namespace

NetlinkMessage set_message(const Table& table, const Set& set, uint32_t id) {
  NetlinkMessage message = make_message(NFT_MSG_NEWSET, NLM_F_CREATE, table.family);
  bool map = set.verdict_map || !set.data.empty();
  uint32_t flags = 0;
  if (map) flags |= NFT_SET_MAP;
  if (set.interval) flags |= NFT_SET_INTERVAL;
  if (set.key.size() > 1) flags |= NFT_SET_CONCAT;
  message.put_string(NFTA_SET_TABLE, table.name);
  message.put_string(NFTA_SET_NAME, set.name);
  message.put_be32(NFTA_SET_FLAGS, flags);
  message.put_be32(NFTA_SET_KEY_TYPE, concatenated_code(set.key));
  message.put_be32(NFTA_SET_KEY_LEN, concatenated_size(set.key));
  if (set.verdict_map) {
    message.put_be32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
    message.put_be32(NFTA_SET_DATA_LEN, 0);
  } else if (map) {
    message.put_be32(NFTA_SET_DATA_TYPE, concatenated_code(set.data));
    message.put_be32(NFTA_SET_DATA_LEN, concatenated_size(set.data));
  }
  if (set.key.size() > 1) {
    message.nest(NFTA_SET_DESC, [&] {
      message.nest(NFTA_SET_DESC_CONCAT, [&] {
        for (Type type : set.key)
          message.nest(NFTA_LIST_ELEM, [&] { message.put_be32(NFTA_SET_FIELD_LEN, info(type).size); });
      });
    });
  }
  if (set.key.size() == 1 && set.key[0] == Type::ifname) {
    // Tells the nft program that the key's bytes are in host order; without it a listing shows empty names.
    const Bytes order{kByteOrderTag, 4, 1, 0, 0, 0};
    message.put(NFTA_SET_USERDATA, order.data(), order.size());
  }
  message.put_be32(NFTA_SET_ID, id);
  return message;
}

void append_elements(std::vector<NetlinkMessage>& messages, const Table& table, const Set& set, bool add) {
  for (size_t at = 0; at < set.elements.size(); at += kElementsPerMessage) {
    NetlinkMessage message = make_message(add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM,
                                          static_cast<uint16_t>(add ? NLM_F_CREATE : 0), table.family);
    message.put_string(NFTA_SET_ELEM_LIST_TABLE, table.name);
    message.put_string(NFTA_SET_ELEM_LIST_SET, set.name);
    message.nest(NFTA_SET_ELEM_LIST_ELEMENTS, [&] {
      for (size_t i = at; i < std::min(at + kElementsPerMessage, set.elements.size()); i++)
        put_element(message, set, set.elements[i], add);
    });
    messages.push_back(std::move(message));
  }
}

}  // namespace gantry::nft
