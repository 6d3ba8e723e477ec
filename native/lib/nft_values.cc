#include "nft_values.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>

#include <array>
#include <charconv>
#include <cstring>

#include "gantry/error.h"
#include "gantry/netlink.h"

namespace gantry::nft {

namespace {

constexpr uint32_t kIfNameSize = 16;

constexpr std::array<TypeInfo, 5> kTypes{{
    {"ifname", kIfNameSize, 41},
    {"ipv4", 4, 7},
    {"protocol", 1, 12},
    {"port", 2, 13},
    {"ipv6", 16, 8},
}};

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

template <typename Enum, size_t N, typename Info>
Enum parse_word(const std::array<Info, N>& words, const std::string& word) {
  for (size_t i = 0; i < N; i++)
    if (word == words[i].word) return static_cast<Enum>(i);
  throw InvalidInput("unknown word: " + word);
}

Bytes encode(Type type, const std::string& text) {
  switch (type) {
    case Type::ifname:
      return encode_ifname(text);
    case Type::ipv4:
      return encode_ipv4(text);
    case Type::ipv6:
      return encode_ipv6(text);
    case Type::protocol:
      return encode_protocol(text);
    case Type::port:
      return encode_port(static_cast<uint16_t>(parse_number(text, UINT16_MAX)));
  }
  throw InvalidInput("unknown type");
}

}  // namespace

const TypeInfo& info(Type type) { return kTypes[static_cast<size_t>(type)]; }

uint32_t field_size(Field field, Family family) {
  if (family == Family::ip6 && (field == Field::saddr || field == Field::daddr)) return info(Type::ipv6).size;
  return kFields[static_cast<size_t>(field)].size;
}

Field parse_field(const std::string& word) { return parse_word<Field>(kFields, word); }
Type parse_type(const std::string& word) { return parse_word<Type>(kTypes, word); }

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

std::vector<Type> types_of(uint32_t code) {
  std::vector<Type> types;
  for (; code != 0; code >>= 6)
    for (size_t i = 0; i < kTypes.size(); i++)
      if (kTypes[i].code == (code & 0x3f)) types.insert(types.begin(), static_cast<Type>(i));
  return types;
}

uint64_t parse_number(const std::string& text, uint64_t most) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > most)
    throw InvalidInput("invalid number: " + text);
  return value;
}

Bytes encode_ipv4(const std::string& text) {
  Bytes bytes(4);
  if (::inet_pton(AF_INET, text.c_str(), bytes.data()) != 1) throw InvalidInput("invalid IPv4 address: " + text);
  return bytes;
}

Bytes encode_ipv6(const std::string& text) {
  Bytes bytes(16);
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) != 1) throw InvalidInput("invalid IPv6 address: " + text);
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
  return {static_cast<uint8_t>(parse_number(text, UINT8_MAX))};
}

Bytes encode_port(uint16_t port) { return {static_cast<uint8_t>(port >> 8), static_cast<uint8_t>(port)}; }

Bytes host_u32(uint32_t value) {
  Bytes bytes(4);
  std::memcpy(bytes.data(), &value, 4);
  return bytes;
}

Cidr parse_cidr(const std::string& text, Type type) {
  size_t slash = text.find('/');
  Bytes address = encode(type, text.substr(0, slash));
  size_t bits = address.size() * 8;
  size_t prefix = slash == std::string::npos ? bits : parse_number(text.substr(slash + 1), bits);
  Bytes mask(address.size());
  for (size_t i = 0; i < prefix; i++) mask[i / 8] |= static_cast<uint8_t>(0x80 >> (i % 8));
  for (size_t i = 0; i < address.size(); i++) address[i] &= mask[i];
  return {std::move(address), std::move(mask)};
}

bool increment(Bytes& number) {
  for (size_t i = number.size(); i-- > 0;)
    if (++number[i] != 0) return true;
  return false;
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

std::string decode(Type type, const uint8_t* bytes) {
  switch (type) {
    case Type::ifname:
      return {reinterpret_cast<const char*>(bytes), ::strnlen(reinterpret_cast<const char*>(bytes), kIfNameSize)};
    case Type::ipv4: {
      char text[INET_ADDRSTRLEN];
      return ::inet_ntop(AF_INET, bytes, text, sizeof text);
    }
    case Type::ipv6: {
      char text[INET6_ADDRSTRLEN];
      return ::inet_ntop(AF_INET6, bytes, text, sizeof text);
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

}  // namespace gantry::nft
