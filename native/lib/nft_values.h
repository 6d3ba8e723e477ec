#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gantry/nft.h"

struct nlattr;

/// Values between their text and the bytes that nf_tables keeps.
namespace gantry::nft {

using Bytes = std::vector<uint8_t>;

/// Registers are addressed as sixteen slots of four bytes; concatenated parts lie in consecutive slots.
constexpr uint32_t kSlotSize = 4;
constexpr uint32_t kSlots = 16;

constexpr uint32_t slots_for(uint32_t size) { return (size + kSlotSize - 1) / kSlotSize; }

struct TypeInfo {
  const char* word;
  uint32_t size;
  /// The nft program's number of the type, so that its listing reads well.
  uint32_t code;
};

struct FieldInfo {
  const char* word;
  /// Of an address, that of IPv4.
  uint32_t size;
};

const TypeInfo& info(Type type);
/// Bytes that a field has in packets of the family.
uint32_t field_size(Field field, Family family);

/// Bytes of a key or value of these parts; each part of several fills whole slots.
uint32_t concatenated_size(const std::vector<Type>& types);
/// The nft program's number for them, and the way back.
uint32_t concatenated_code(const std::vector<Type>& types);
std::vector<Type> types_of(uint32_t code);

/// All of these fail with InvalidInput.
uint64_t parse_number(const std::string& text, uint64_t most);
Bytes encode_ipv4(const std::string& text);
Bytes encode_ipv6(const std::string& text);
Bytes encode_ifname(const std::string& text);
Bytes encode_protocol(const std::string& text);
Bytes encode_port(uint16_t port);
Bytes encode_tuple(const std::vector<Type>& types, const std::vector<std::string>& values);

Bytes host_u32(uint32_t value);

struct Cidr {
  Bytes first;
  Bytes mask;
};
/// Of type ipv4 or ipv6; without a prefix length it is one address.
Cidr parse_cidr(const std::string& text, Type type);
/// Counts a number in network order up by one; false when it was the highest.
bool increment(Bytes& number);

std::string decode(Type type, const uint8_t* bytes);
/// Data of an element: its parts joined by ` . `, or a verdict.
std::string decode_tuple(const std::vector<Type>& types, const nlattr* data);

}  // namespace gantry::nft
