#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <string>
#include <utility>

#include "gantry/error.h"
#include "nft_message.h"

namespace gantry::nft {

namespace {

constexpr uint32_t slot_register(uint32_t slot) { return NFT_REG32_00 + slot; }

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

/// Writes the expressions of one rule.
class RuleWriter {
 public:
  RuleWriter(NetlinkMessage& message, Family family) : message_(message), family_(family) {}

  void write(const Expression& part) {
    if (part.type == "match")
      match(part);
    else if (part.type == "in")
      lookup(part, false, part.negated);
    else if (part.type == "verdict-map")
      verdict_map(part);
    else if (part.type == "dnat-map")
      dnat_map(part);
    else if (part.type == "snat-map")
      snat_map(part);
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
        return load_payload(NFT_PAYLOAD_NETWORK_HEADER, v6() ? 8 : 12, field_size(field, family_), slot);
      case Field::daddr:
        return load_payload(NFT_PAYLOAD_NETWORK_HEADER, v6() ? 24 : 16, field_size(field, family_), slot);
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
        return compare(0, !part.negated, encode_port(static_cast<uint16_t>(parse_number(part.value, UINT16_MAX))));
      case Field::icmp_type:
        return compare(0, !part.negated, {static_cast<uint8_t>(parse_number(part.value, UINT8_MAX))});
      case Field::mark:
        return compare(0, !part.negated, host_u32(static_cast<uint32_t>(parse_number(part.value, UINT32_MAX))));
      case Field::fib_daddr_type:
        if (part.value != "local") throw InvalidInput("unknown address type: " + part.value);
        return compare(0, !part.negated, host_u32(RTN_LOCAL));
      case Field::saddr:
      case Field::daddr: {
        Cidr cidr = parse_cidr(part.value, v6() ? Type::ipv6 : Type::ipv4);
        if (cidr.mask != Bytes(cidr.mask.size(), 0xff)) mask(0, cidr.mask);
        return compare(0, !part.negated, cidr.first);
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
      uint32_t slots = slots_for(field_size(field, family_));
      if (slot + slots > kSlots) throw InvalidInput("a concatenated key is too long");
      load(field, slot);
      slot += slots;
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
      message_.put_be32(NFTA_NAT_FAMILY, static_cast<uint32_t>(family_));
      message_.put_be32(NFTA_NAT_REG_ADDR_MIN, slot_register(0));
      message_.put_be32(NFTA_NAT_REG_PROTO_MIN, slot_register(address_slots()));
    });
  }

  void snat_map(const Expression& part) {
    lookup(part, true, false, slot_register(0));
    expression("nat", [&] {
      message_.put_be32(NFTA_NAT_TYPE, NFT_NAT_SNAT);
      message_.put_be32(NFTA_NAT_FAMILY, static_cast<uint32_t>(family_));
      message_.put_be32(NFTA_NAT_REG_ADDR_MIN, slot_register(0));
    });
  }

  void immediate(uint32_t slot, const Bytes& value) {
    expression("immediate", [&] {
      message_.put_be32(NFTA_IMMEDIATE_DREG, slot_register(slot));
      put_data(message_, NFTA_IMMEDIATE_DATA, value);
    });
  }

  void nat(const Expression& part) {
    immediate(0, v6() ? encode_ipv6(part.address) : encode_ipv4(part.address));
    if (part.port) immediate(address_slots(), encode_port(part.port));
    expression("nat", [&] {
      message_.put_be32(NFTA_NAT_TYPE, part.type == "dnat" ? NFT_NAT_DNAT : NFT_NAT_SNAT);
      message_.put_be32(NFTA_NAT_FAMILY, static_cast<uint32_t>(family_));
      message_.put_be32(NFTA_NAT_REG_ADDR_MIN, slot_register(0));
      if (part.port) message_.put_be32(NFTA_NAT_REG_PROTO_MIN, slot_register(address_slots()));
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

  bool v6() const { return family_ == Family::ip6; }
  uint32_t address_slots() const { return v6() ? 4 : 1; }

  NetlinkMessage& message_;
  Family family_;
};

}  // namespace

NetlinkMessage rule_message(const Table& table, const std::string& chain, const Rule& rule) {
  NetlinkMessage message = make_message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, table.family);
  message.put_string(NFTA_RULE_TABLE, table.name);
  message.put_string(NFTA_RULE_CHAIN, chain);
  message.nest(NFTA_RULE_EXPRESSIONS, [&] {
    RuleWriter writer(message, table.family);
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

}  // namespace gantry::nft
