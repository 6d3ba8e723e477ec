#include "gantry/nft.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>

#include "gantry/error.h"
#include "gantry/netlink.h"

namespace gantry::nft {

namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kIfNameSize = 16;
/// Registers are addressed as sixteen slots of four bytes; concatenated parts lie in consecutive slots.
constexpr uint32_t kSlotSize = 4;
constexpr uint32_t kSlots = 16;
/// An attribute's length has 16 bits, and the largest element here takes some 150 bytes.
constexpr size_t kElementsPerMessage = 300;
/// Where userspace keeps a rule's comment in the rule's user data: NFTNL_UDATA_RULE_COMMENT of the nft program.
constexpr uint8_t kCommentTag = 0;

/// NFTNL_UDATA_SET_KEYBYTEORDER, likewise.
constexpr uint8_t kByteOrderTag = 0;

constexpr uint32_t slot_register(uint32_t slot) { return NFT_REG32_00 + slot; }
constexpr uint32_t slots_for(uint32_t size) { return (size + kSlotSize - 1) / kSlotSize; }

struct TypeInfo {
  const char* word;
  uint32_t size;
  /// The nft program's number of the type, so that its listing reads well.
  uint32_t code;
};

constexpr std::array<TypeInfo, 4> kTypes{{
    {"ifname", kIfNameSize, 41},
    {"ipv4", 4, 7},
    {"protocol", 1, 12},
    {"port", 2, 13},
}};

const TypeInfo& info(Type type) { return kTypes[static_cast<size_t>(type)]; }

struct FieldInfo {
  const char* word;
  uint32_t size;
};

constexpr std::array<FieldInfo, 12> kFields{{
    {"iifname", kIfNameSize},
    {"oifname", kIfNameSize},
    {"protocol", 1},
    {"saddr", 4},
    {"daddr", 4},
    {"sport", 2},
    {"dport", 2},
    {"icmp-type", 1},
    {"mark", 4},
    {"ct-state", 4},
    {"ct-status", 4},
    {"fib-daddr-type", 4},
}};

const FieldInfo& info(Field field) { return kFields[static_cast<size_t>(field)]; }

uint32_t concatenated_size(const std::vector<Type>& types) {
  if (types.size() == 1) return info(types[0]).size;
  uint32_t slots = 0;
  for (Type type : types) slots += slots_for(info(type).size);
  return slots * kSlotSize;
}

uint32_t concatenated_code(const std::vector<Type>& types) {
  uint32_t code = 0;
  for (Type type : types) code = code << 6 | info(type).code;
  return code;
}

template <typename Number>
Number parse_number(const std::string& text, uint64_t most) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > most)
    throw InvalidInput("invalid number: " + text);
  return static_cast<Number>(value);
}

Bytes encode_ipv4(const std::string& text) {
  Bytes bytes(4);
  if (::inet_pton(AF_INET, text.c_str(), bytes.data()) != 1) throw InvalidInput("invalid IPv4 address: " + text);
  return bytes;
}

Bytes encode_ifname(const std::string& text) {
  if (text.empty() || text.size() >= kIfNameSize) throw InvalidInput("invalid link name: " + text);
  Bytes bytes(kIfNameSize);
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

Bytes encode_protocol(const std::string& text) {
  if (text == "tcp") return {IPPROTO_TCP};
  if (text == "udp") return {IPPROTO_UDP};
  if (text == "sctp") return {IPPROTO_SCTP};
  return {parse_number<uint8_t>(text, UINT8_MAX)};
}

Bytes encode_port(uint16_t port) { return {static_cast<uint8_t>(port >> 8), static_cast<uint8_t>(port)}; }

Bytes encode(Type type, const std::string& text) {
  switch (type) {
    case Type::ifname:
      return encode_ifname(text);
    case Type::ipv4:
      return encode_ipv4(text);
    case Type::protocol:
      return encode_protocol(text);
    case Type::port:
      return encode_port(parse_number<uint16_t>(text, UINT16_MAX));
  }
  throw InvalidInput("unknown type");
}

Bytes host_u32(uint32_t value) {
  Bytes bytes(4);
  std::memcpy(bytes.data(), &value, 4);
  return bytes;
}

struct Cidr {
  uint32_t first = 0;
  uint32_t mask = 0;
};

Cidr parse_cidr(const std::string& text) {
  size_t slash = text.find('/');
  Bytes address = encode_ipv4(text.substr(0, slash));
  unsigned prefix = slash == std::string::npos ? 32 : parse_number<unsigned>(text.substr(slash + 1), 32);
  uint32_t number;
  std::memcpy(&number, address.data(), 4);
  uint32_t mask = prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
  return {ntohl(number) & mask, mask};
}

Bytes be_u32(uint32_t value) { return host_u32(htonl(value)); }

/// Bits of a word list such as `established,related`.
uint32_t parse_bits(const std::string& list, const std::vector<std::pair<const char*, uint32_t>>& words) {
  uint32_t bits = 0;
  size_t at = 0;
  while (at <= list.size()) {
    size_t end = std::min(list.find(',', at), list.size());
    std::string word = list.substr(at, end - at);
    auto found = std::find_if(words.begin(), words.end(), [&](const auto& entry) { return word == entry.first; });
    if (found == words.end()) throw InvalidInput("unknown value: " + word);
    bits |= found->second;
    at = end + 1;
  }
  return bits;
}

const std::vector<std::pair<const char*, uint32_t>> kStates{{"invalid", NF_CT_STATE_INVALID_BIT},
                                                            {"established", NF_CT_STATE_BIT(IP_CT_ESTABLISHED)},
                                                            {"related", NF_CT_STATE_BIT(IP_CT_RELATED)},
                                                            {"new", NF_CT_STATE_BIT(IP_CT_NEW)}};
const std::vector<std::pair<const char*, uint32_t>> kStatuses{{"snat", IPS_SRC_NAT}, {"dnat", IPS_DST_NAT}};

constexpr uint16_t message_type(uint16_t type) { return static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type); }

NetlinkMessage make_message(uint16_t type, uint16_t flags) {
  NetlinkMessage message(message_type(type), flags);
  auto* header = message.header<nfgenmsg>();
  header->nfgen_family = NFPROTO_IPV4;
  header->version = NFNETLINK_V0;
  return message;
}

void put_data(NetlinkMessage& message, uint16_t attribute, const Bytes& value) {
  message.nest(attribute, [&] { message.put(NFTA_DATA_VALUE, value.data(), value.size()); });
}

void put_verdict(NetlinkMessage& message, uint16_t attribute, const Verdict& verdict) {
  static const std::vector<std::pair<const char*, int>> kCodes{
      {"accept", NF_ACCEPT}, {"drop", NF_DROP}, {"return", NFT_RETURN}, {"jump", NFT_JUMP}, {"goto", NFT_GOTO}};
  auto found = std::find_if(kCodes.begin(), kCodes.end(), [&](const auto& e) { return verdict.verdict == e.first; });
  if (found == kCodes.end()) throw InvalidInput("unknown verdict: " + verdict.verdict);
  message.nest(attribute, [&] {
    message.nest(NFTA_DATA_VERDICT, [&] {
      message.put_be32(NFTA_VERDICT_CODE, static_cast<uint32_t>(found->second));
      if (!verdict.chain.empty()) message.put_string(NFTA_VERDICT_CHAIN, verdict.chain);
    });
  });
}

/// Writes the expressions of one rule.
class RuleWriter {
 public:
  explicit RuleWriter(NetlinkMessage& message) : message_(message) {}

  void write(const Expression& part) {
    if (part.type == "match")
      match(part);
    else if (part.type == "in")
      lookup(part, false, part.negated);
    else if (part.type == "verdict-map")
      verdict_map(part);
    else if (part.type == "dnat-map")
      dnat_map(part);
    else if (part.type == "dnat" || part.type == "snat")
      nat(part);
    else if (part.type == "redirect")
      redirect(part);
    else if (part.type == "set-port")
      set_port(part);
    else if (part.type == "masquerade")
      expression("masq", [] {});
    else if (part.type == "counter")
      expression("counter", [] {});
    else if (part.type == "verdict")
      expression("immediate", [&] {
        message_.put_be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
        put_verdict(message_, NFTA_IMMEDIATE_DATA, part.verdict);
      });
    else
      throw InvalidInput("unknown expression: " + part.type);
  }

 private:
  template <typename Fill>
  void expression(const char* name, Fill fill) {
    message_.nest(NFTA_LIST_ELEM, [&] {
      message_.put_string(NFTA_EXPR_NAME, name);
      message_.nest(NFTA_EXPR_DATA, fill);
    });
  }

  void load_meta(uint32_t key, uint32_t slot) {
    expression("meta", [&] {
      message_.put_be32(NFTA_META_KEY, key);
      message_.put_be32(NFTA_META_DREG, slot_register(slot));
    });
  }

  void load_payload(uint32_t base, uint32_t offset, uint32_t size, uint32_t slot) {
    expression("payload", [&] {
      message_.put_be32(NFTA_PAYLOAD_DREG, slot_register(slot));
      message_.put_be32(NFTA_PAYLOAD_BASE, base);
      message_.put_be32(NFTA_PAYLOAD_OFFSET, offset);
      message_.put_be32(NFTA_PAYLOAD_LEN, size);
    });
  }

  void load_ct(uint32_t key, uint32_t slot) {
    expression("ct", [&] {
      message_.put_be32(NFTA_CT_KEY, key);
      message_.put_be32(NFTA_CT_DREG, slot_register(slot));
    });
  }

  void load(Field field, uint32_t slot) {
    switch (field) {
      case Field::iifname:
        return load_meta(NFT_META_IIFNAME, slot);
      case Field::oifname:
        return load_meta(NFT_META_OIFNAME, slot);
      case Field::protocol:
        return load_meta(NFT_META_L4PROTO, slot);
      case Field::mark:
        return load_meta(NFT_META_MARK, slot);
      case Field::saddr:
        return load_payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4, slot);
      case Field::daddr:
        return load_payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 4, slot);
      case Field::sport:
        return load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, slot);
      case Field::dport:
        return load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, slot);
      case Field::icmp_type:
        return load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, slot);
      case Field::ct_state:
        return load_ct(NFT_CT_STATE, slot);
      case Field::ct_status:
        return load_ct(NFT_CT_STATUS, slot);
      case Field::fib_daddr_type:
        return expression("fib", [&] {
          message_.put_be32(NFTA_FIB_DREG, slot_register(slot));
          message_.put_be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
          message_.put_be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
        });
    }
  }

  void mask(uint32_t slot, const Bytes& bits) {
    expression("bitwise", [&] {
      message_.put_be32(NFTA_BITWISE_SREG, slot_register(slot));
      message_.put_be32(NFTA_BITWISE_DREG, slot_register(slot));
      message_.put_be32(NFTA_BITWISE_LEN, static_cast<uint32_t>(bits.size()));
      put_data(message_, NFTA_BITWISE_MASK, bits);
      put_data(message_, NFTA_BITWISE_XOR, Bytes(bits.size()));
    });
  }

  void compare(uint32_t slot, bool equal, const Bytes& value) {
    expression("cmp", [&] {
      message_.put_be32(NFTA_CMP_SREG, slot_register(slot));
      message_.put_be32(NFTA_CMP_OP, equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
      put_data(message_, NFTA_CMP_DATA, value);
    });
  }

  void match(const Expression& part) {
    if (part.fields.size() != 1) throw InvalidInput("a match has one field");
    Field field = part.fields[0];
    load(field, 0);
    switch (field) {
      case Field::iifname:
      case Field::oifname:
        return compare(0, !part.negated, encode_ifname(part.value));
      case Field::protocol:
        return compare(0, !part.negated, encode_protocol(part.value));
      case Field::sport:
      case Field::dport:
        return compare(0, !part.negated, encode_port(parse_number<uint16_t>(part.value, UINT16_MAX)));
      case Field::icmp_type:
        return compare(0, !part.negated, {parse_number<uint8_t>(part.value, UINT8_MAX)});
      case Field::mark:
        return compare(0, !part.negated, host_u32(parse_number<uint32_t>(part.value, UINT32_MAX)));
      case Field::fib_daddr_type:
        if (part.value != "local") throw InvalidInput("unknown address type: " + part.value);
        return compare(0, !part.negated, host_u32(RTN_LOCAL));
      case Field::saddr:
      case Field::daddr: {
        Cidr cidr = parse_cidr(part.value);
        if (cidr.mask != UINT32_MAX) mask(0, be_u32(cidr.mask));
        return compare(0, !part.negated, be_u32(cidr.first));
      }
      case Field::ct_state:
      case Field::ct_status:
        mask(0, host_u32(parse_bits(part.value, field == Field::ct_state ? kStates : kStatuses)));
        return compare(0, part.negated, host_u32(0));
    }
  }

  void load_key(const std::vector<Field>& fields) {
    uint32_t slot = 0;
    for (Field field : fields) {
      if (slot + slots_for(info(field).size) > kSlots) throw InvalidInput("a concatenated key is too long");
      load(field, slot);
      slot += slots_for(info(field).size);
    }
  }

  void lookup(const Expression& part, bool to_register, bool negated, uint32_t destination = 0) {
    load_key(part.fields);
    expression("lookup", [&] {
      message_.put_string(NFTA_LOOKUP_SET, part.set);
      message_.put_be32(NFTA_LOOKUP_SREG, slot_register(0));
      if (to_register) message_.put_be32(NFTA_LOOKUP_DREG, destination);
      if (negated) message_.put_be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
    });
  }

  void verdict_map(const Expression& part) { lookup(part, true, false, NFT_REG_VERDICT); }

  void dnat_map(const Expression& part) {
    lookup(part, true, false, slot_register(0));
    expression("nat", [&] {
      message_.put_be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
      message_.put_be32(NFTA_NAT_FAMILY, NFPROTO_IPV4);
      message_.put_be32(NFTA_NAT_REG_ADDR_MIN, slot_register(0));
      message_.put_be32(NFTA_NAT_REG_PROTO_MIN, slot_register(1));
    });
  }

  void immediate(uint32_t slot, const Bytes& value) {
    expression("immediate", [&] {
      message_.put_be32(NFTA_IMMEDIATE_DREG, slot_register(slot));
      put_data(message_, NFTA_IMMEDIATE_DATA, value);
    });
  }

  void nat(const Expression& part) {
    immediate(0, encode_ipv4(part.address));
    if (part.port) immediate(1, encode_port(part.port));
    expression("nat", [&] {
      message_.put_be32(NFTA_NAT_TYPE, part.type == "dnat" ? NFT_NAT_DNAT : NFT_NAT_SNAT);
      message_.put_be32(NFTA_NAT_FAMILY, NFPROTO_IPV4);
      message_.put_be32(NFTA_NAT_REG_ADDR_MIN, slot_register(0));
      if (part.port) message_.put_be32(NFTA_NAT_REG_PROTO_MIN, slot_register(1));
    });
  }

  void redirect(const Expression& part) {
    immediate(0, encode_port(part.port));
    expression("redir", [&] { message_.put_be32(NFTA_REDIR_REG_PROTO_MIN, slot_register(0)); });
  }

  /// Writes a port into the packet itself. `value` is the protocol, which says where its checksum is.
  void set_port(const Expression& part) {
    if (part.fields.size() != 1 || (part.fields[0] != Field::sport && part.fields[0] != Field::dport))
      throw InvalidInput("set-port has one field, sport or dport");
    if (part.value != "tcp" && part.value != "udp") throw InvalidInput("set-port is for tcp or udp");
    constexpr uint32_t kTcpChecksum = 16;
    constexpr uint32_t kUdpChecksum = 6;
    immediate(0, encode_port(part.port));
    expression("payload", [&] {
      message_.put_be32(NFTA_PAYLOAD_SREG, slot_register(0));
      message_.put_be32(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
      message_.put_be32(NFTA_PAYLOAD_OFFSET, part.fields[0] == Field::sport ? 0 : 2);
      message_.put_be32(NFTA_PAYLOAD_LEN, 2);
      message_.put_be32(NFTA_PAYLOAD_CSUM_TYPE, NFT_PAYLOAD_CSUM_INET);
      message_.put_be32(NFTA_PAYLOAD_CSUM_OFFSET, part.value == "tcp" ? kTcpChecksum : kUdpChecksum);
    });
  }

  NetlinkMessage& message_;
};

NetlinkMessage table_message(uint16_t type, uint16_t flags, const std::string& name) {
  NetlinkMessage message = make_message(type, flags);
  message.put_string(NFTA_TABLE_NAME, name);
  return message;
}

uint32_t hook_number(const std::string& hook) {
  static const std::vector<std::pair<const char*, uint32_t>> kHooks{{"prerouting", NF_INET_PRE_ROUTING},
                                                                    {"input", NF_INET_LOCAL_IN},
                                                                    {"forward", NF_INET_FORWARD},
                                                                    {"output", NF_INET_LOCAL_OUT},
                                                                    {"postrouting", NF_INET_POST_ROUTING}};
  for (const auto& [word, number] : kHooks)
    if (hook == word) return number;
  throw InvalidInput("unknown hook: " + hook);
}

NetlinkMessage chain_message(const std::string& table, const Chain& chain) {
  NetlinkMessage message = make_message(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  message.put_string(NFTA_CHAIN_TABLE, table);
  message.put_string(NFTA_CHAIN_NAME, chain.name);
  if (!chain.type.empty()) {
    message.nest(NFTA_CHAIN_HOOK, [&] {
      message.put_be32(NFTA_HOOK_HOOKNUM, hook_number(chain.hook));
      message.put_be32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(chain.priority));
    });
    message.put_be32(NFTA_CHAIN_POLICY, NF_ACCEPT);
    message.put_string(NFTA_CHAIN_TYPE, chain.type);
  }
  return message;
}

NetlinkMessage set_message(const std::string& table, const Set& set, uint32_t id) {
  NetlinkMessage message = make_message(NFT_MSG_NEWSET, NLM_F_CREATE);
  bool map = set.verdict_map || !set.data.empty();
  uint32_t flags = 0;
  if (map) flags |= NFT_SET_MAP;
  if (set.interval) flags |= NFT_SET_INTERVAL;
  if (set.key.size() > 1) flags |= NFT_SET_CONCAT;
  message.put_string(NFTA_SET_TABLE, table);
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

Bytes encode_tuple(const std::vector<Type>& types, const std::vector<std::string>& values) {
  if (types.size() != values.size()) throw InvalidInput("an element has the wrong number of parts");
  Bytes bytes;
  for (size_t i = 0; i < types.size(); i++) {
    Bytes part = encode(types[i], values[i]);
    if (types.size() > 1) part.resize(slots_for(info(types[i]).size) * kSlotSize);
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  return bytes;
}

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
  if (set.key.size() != 1 || set.key[0] != Type::ipv4 || element.key.size() != 1)
    throw InvalidInput("an interval set has one IPv4 part");
  Cidr cidr = parse_cidr(element.key[0]);
  put(be_u32(cidr.first), 0);
  uint32_t end = (cidr.first | ~cidr.mask) + 1;
  // The last address of all has no end element.
  if (end != 0) put(be_u32(end), NFT_SET_ELEM_INTERVAL_END);
}

void append_elements(std::vector<NetlinkMessage>& messages, const std::string& table, const Set& set, bool add) {
  for (size_t at = 0; at < set.elements.size(); at += kElementsPerMessage) {
    NetlinkMessage message =
        make_message(add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, static_cast<uint16_t>(add ? NLM_F_CREATE : 0));
    message.put_string(NFTA_SET_ELEM_LIST_TABLE, table);
    message.put_string(NFTA_SET_ELEM_LIST_SET, set.name);
    message.nest(NFTA_SET_ELEM_LIST_ELEMENTS, [&] {
      for (size_t i = at; i < std::min(at + kElementsPerMessage, set.elements.size()); i++)
        put_element(message, set, set.elements[i], add);
    });
    messages.push_back(std::move(message));
  }
}

NetlinkMessage rule_message(const std::string& table, const std::string& chain, const Rule& rule) {
  NetlinkMessage message = make_message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  message.put_string(NFTA_RULE_TABLE, table);
  message.put_string(NFTA_RULE_CHAIN, chain);
  message.nest(NFTA_RULE_EXPRESSIONS, [&] {
    RuleWriter writer(message);
    for (const Expression& part : rule.expressions) writer.write(part);
  });
  if (!rule.comment.empty()) {
    if (rule.comment.size() > 120) throw InvalidInput("a rule's comment is longer than 120 bytes");
    std::string user{static_cast<char>(kCommentTag), static_cast<char>(rule.comment.size() + 1)};
    user.append(rule.comment.c_str(), rule.comment.size() + 1);
    message.put(NFTA_RULE_USERDATA, user.data(), user.size());
  }
  return message;
}

void append_table(std::vector<NetlinkMessage>& messages, const Table& table, uint16_t flags, uint32_t* set_id) {
  messages.push_back(table_message(NFT_MSG_NEWTABLE, flags, table.name));
  for (const Chain& chain : table.chains) messages.push_back(chain_message(table.name, chain));
  for (const Set& set : table.sets) messages.push_back(set_message(table.name, set, ++*set_id));
  for (const Set& set : table.sets) append_elements(messages, table.name, set, true);
  for (const Chain& chain : table.chains)
    for (const Rule& rule : chain.rules) messages.push_back(rule_message(table.name, chain.name, rule));
}

std::vector<Type> types_of(uint32_t code) {
  std::vector<Type> types;
  for (; code != 0; code >>= 6)
    for (size_t i = 0; i < kTypes.size(); i++)
      if (kTypes[i].code == (code & 0x3f)) types.insert(types.begin(), static_cast<Type>(i));
  return types;
}

std::string decode(Type type, const uint8_t* bytes) {
  switch (type) {
    case Type::ifname:
      return {reinterpret_cast<const char*>(bytes), ::strnlen(reinterpret_cast<const char*>(bytes), kIfNameSize)};
    case Type::ipv4: {
      char text[INET_ADDRSTRLEN];
      return ::inet_ntop(AF_INET, bytes, text, sizeof text);
    }
    case Type::protocol:
      return bytes[0] == IPPROTO_TCP   ? "tcp"
             : bytes[0] == IPPROTO_UDP ? "udp"
                                       : std::to_string(static_cast<unsigned>(bytes[0]));
    case Type::port:
      return std::to_string(bytes[0] << 8 | bytes[1]);
  }
  return {};
}

std::string decode_tuple(const std::vector<Type>& types, const nlattr* data) {
  std::string text;
  for (const nlattr* part : nested_attributes(data)) {
    if (mnl_attr_get_type(part) == NFTA_DATA_VALUE) {
      const auto* bytes = static_cast<const uint8_t*>(mnl_attr_get_payload(part));
      uint32_t left = mnl_attr_get_payload_len(part);
      for (Type type : types) {
        uint32_t step = types.size() > 1 ? slots_for(info(type).size) * kSlotSize : info(type).size;
        if (left < step) break;
        if (!text.empty()) text += " . ";
        text += decode(type, bytes);
        bytes += step;
        left -= step;
      }
    } else if (mnl_attr_get_type(part) == NFTA_DATA_VERDICT) {
      int code = 0;
      std::string chain;
      for (const nlattr* inner : nested_attributes(part)) {
        if (mnl_attr_get_type(inner) == NFTA_VERDICT_CODE) code = static_cast<int>(ntohl(mnl_attr_get_u32(inner)));
        if (mnl_attr_get_type(inner) == NFTA_VERDICT_CHAIN) chain = mnl_attr_get_str(inner);
      }
      text = code == NF_ACCEPT    ? "accept"
             : code == NF_DROP    ? "drop"
             : code == NFT_RETURN ? "return"
             : code == NFT_JUMP   ? "jump " + chain
                                  : "goto " + chain;
    }
  }
  return text;
}

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

template <typename Enum, size_t N, typename Info>
Enum parse_word(const std::array<Info, N>& words, const std::string& word) {
  for (size_t i = 0; i < N; i++)
    if (word == words[i].word) return static_cast<Enum>(i);
  throw InvalidInput("unknown word: " + word);
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

Field parse_field(const std::string& word) { return parse_word<Field>(kFields, word); }
Type parse_type(const std::string& word) { return parse_word<Type>(kTypes, word); }

void apply(const std::vector<Command>& commands) {
  std::vector<NetlinkMessage> messages;
  uint32_t set_id = 0;
  for (const Command& command : commands) {
    switch (command.op) {
      case Command::Op::add_table:
        append_table(messages, command.table, NLM_F_CREATE | NLM_F_EXCL, &set_id);
        break;
      case Command::Op::replace_table:
      case Command::Op::delete_table:
        // Making it first lets the deletion succeed whether or not it was there.
        messages.push_back(table_message(NFT_MSG_NEWTABLE, NLM_F_CREATE, command.table.name));
        messages.push_back(table_message(NFT_MSG_DELTABLE, 0, command.table.name));
        if (command.op == Command::Op::replace_table) append_table(messages, command.table, NLM_F_CREATE, &set_id);
        break;
      case Command::Op::add_elements:
      case Command::Op::delete_elements:
        append_elements(messages, command.table.name, command.set, command.op == Command::Op::add_elements);
        break;
    }
  }
  // Another program's commit between our messages and ours makes the kernel answer EAGAIN after it undid everything.
  constexpr int kAttempts = 10;
  for (int attempt = 1;; attempt++) {
    NetlinkSocket socket(NETLINK_NETFILTER);
    int failed = -1;
    int err = socket.batch(messages, NFNL_SUBSYS_NFTABLES, &failed);
    if (err == 0) return;
    if (err == EAGAIN && attempt < kAttempts) continue;
    std::string subject = "message " + std::to_string(failed);
    if (!socket.reason().empty()) subject += " (" + socket.reason() + ")";
    throw SysError(err, "nftables", subject);
  }
}

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
