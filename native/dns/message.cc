#include "message.h"

#include <algorithm>
#include <cstring>

namespace gantry::dns {

namespace {

/**
 * Docker says 600 seconds. A container's address changes when it is made anew, and no server can call back what a
 * client keeps; asking again costs some 100 us and never leaves the machine.
 */
constexpr uint32_t kTtlSeconds = 5;
constexpr uint16_t kClassIn = 1;
constexpr size_t kMaxName = 255;
constexpr size_t kOptSize = 11;
/// A query has one question and perhaps one record of EDNS; one with dozens is no client's.
constexpr unsigned kMaxRecords = 16;

uint16_t get_u16(View message, size_t at) { return static_cast<uint16_t>(message[at] << 8 | message[at + 1]); }

void put_u16(Bytes& bytes, uint16_t value) {
  bytes.push_back(static_cast<uint8_t>(value >> 8));
  bytes.push_back(static_cast<uint8_t>(value));
}

void put_u32(Bytes& bytes, uint32_t value) {
  put_u16(bytes, static_cast<uint16_t>(value >> 16));
  put_u16(bytes, static_cast<uint16_t>(value));
}

uint8_t lower(uint8_t byte) { return byte >= 'A' && byte <= 'Z' ? static_cast<uint8_t>(byte + 32) : byte; }

/// Behind a record's name, which may end in a pointer; 0 when it does not end in the message.
size_t skip_name(View message, size_t at) {
  size_t start = at;
  while (at < message.size() && at - start <= kMaxName) {
    uint8_t length = message[at];
    if ((length & 0xc0) == 0xc0) return at + 2 <= message.size() ? at + 2 : 0;
    if ((length & 0xc0) != 0) return 0;
    at += 1u + length;
    if (length == 0) return at;
  }
  return 0;
}

/// Reads the OPT record, if there is one, behind the question.
bool read_records(View message, Query& query) {
  unsigned count = get_u16(message, 6) + get_u16(message, 8) + get_u16(message, 10);
  if (count > kMaxRecords) return false;
  size_t at = query.end;
  for (unsigned i = 0; i < count; i++) {
    size_t fixed = skip_name(message, at);
    if (fixed == 0 || fixed + 10 > message.size()) return false;
    size_t next = fixed + 10 + get_u16(message, fixed + 8);
    if (next > message.size()) return false;
    if (get_u16(message, fixed) == kOpt) {
      if (query.edns) return false;
      query.edns = true;
      query.limit = std::clamp<size_t>(get_u16(message, fixed + 2), kPlainSize, kEdnsSize);
      query.edns_version = message[fixed + 5];
    }
    at = next;
  }
  return true;
}

/// Header and question of an answer, with room for the counts.
Bytes begin(View message, const Query& query, uint8_t rcode, bool truncated) {
  Bytes bytes(message.begin(), message.begin() + static_cast<ptrdiff_t>(query.end));
  // An answer, authoritative; the wish for recursion is given back.
  bytes[2] = static_cast<uint8_t>(0x84 | (truncated ? 0x02 : 0) | (query.recursion ? 0x01 : 0));
  bytes[3] = static_cast<uint8_t>(0x80 | rcode);
  std::fill(bytes.begin() + 6, bytes.begin() + kHeaderSize, uint8_t{0});
  return bytes;
}

void finish(Bytes& bytes, const Query& query, uint16_t records, uint8_t extended_rcode = 0) {
  bytes[6] = static_cast<uint8_t>(records >> 8);
  bytes[7] = static_cast<uint8_t>(records);
  if (!query.edns) return;
  bytes[11] = 1;
  bytes.push_back(0);
  put_u16(bytes, kOpt);
  put_u16(bytes, kEdnsSize);
  put_u32(bytes, static_cast<uint32_t>(extended_rcode) << 24);
  put_u16(bytes, 0);
}

/// A record of the question's own name, by pointer.
void put_record(Bytes& bytes, uint16_t type, View data) {
  put_u16(bytes, 0xc000 | kHeaderSize);
  put_u16(bytes, type);
  put_u16(bytes, kClassIn);
  put_u32(bytes, kTtlSeconds);
  put_u16(bytes, static_cast<uint16_t>(data.size()));
  bytes.insert(bytes.end(), data.begin(), data.end());
}

Bytes truncated(View message, const Query& query) {
  Bytes bytes = begin(message, query, kNoError, true);
  finish(bytes, query, 0);
  return bytes;
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

Reading read_query(View message, Query& query) {
  if (message.size() < kHeaderSize || (message[2] & 0x80) != 0) return {Reading::Kind::drop};
  auto fail = [](Rcode rcode) { return Reading{Reading::Kind::fail, rcode}; };
  query.id = get_u16(message, 0);
  query.recursion = (message[2] & 0x01) != 0;
  if ((message[2] & 0x78) != 0) return fail(kNotImplemented);
  if (get_u16(message, 4) != 1) return fail(kFormatError);
  size_t at = kHeaderSize;
  bool odd = false;
  for (;;) {
    if (at >= message.size()) return fail(kFormatError);
    size_t length = message[at++];
    if (length == 0) break;
    if (length > 63 || at + length > message.size() || query.name.size() + length + 1 > kMaxName)
      return fail(kFormatError);
    if (!query.name.empty()) query.name += '.';
    for (size_t i = 0; i < length; i++) {
      // A dot or a zero within a label would make it look like another name.
      if (message[at + i] == '.' || message[at + i] == 0) odd = true;
      query.name += static_cast<char>(lower(message[at + i]));
    }
    at += length;
  }
  if (at + 4 > message.size()) return fail(kFormatError);
  query.type = get_u16(message, at);
  query.question_class = get_u16(message, at + 2);
  query.end = at + 4;
  if (!read_records(message, query)) return fail(kFormatError);
  if (query.question_class != kClassIn || odd) return fail(kRefused);
  return {Reading::Kind::ok};
}

size_t question_end(View message) {
  if (message.size() < kHeaderSize || get_u16(message, 4) != 1) return 0;
  size_t at = kHeaderSize;
  while (at < message.size()) {
    size_t length = message[at++];
    if (length > 63) return 0;
    if (length == 0) return at + 4 <= message.size() ? at + 4 : 0;
    at += length;
  }
  return 0;
}

Bytes failure(View message, Rcode rcode) {
  size_t end = question_end(message);
  View kept = message.first(end == 0 ? kHeaderSize : end);
  Bytes bytes(kept.begin(), kept.end());
  bytes[2] = static_cast<uint8_t>((message[2] & 0x79) | 0x80);
  bytes[3] = static_cast<uint8_t>(0x80 | rcode);
  bytes[4] = 0;
  bytes[5] = end == 0 ? 0 : 1;
  std::fill(bytes.begin() + 6, bytes.begin() + kHeaderSize, uint8_t{0});
  return bytes;
}

Bytes answer_addresses(View message, const Query& query, std::span<const Address> addresses, size_t limit) {
  Bytes bytes = begin(message, query, kNoError, false);
  uint16_t count = 0;
  for (const Address& address : addresses) {
    put_record(bytes, address.v6 ? kAaaa : kA, View(address.bytes).first(address.size()));
    count++;
    if (bytes.size() + (query.edns ? kOptSize : 0) > limit) return truncated(message, query);
  }
  finish(bytes, query, count);
  return bytes;
}

Bytes answer_name(View message, const Query& query, const std::string& name, size_t limit) {
  Bytes data;
  for (size_t at = 0; at < name.size();) {
    size_t end = std::min(name.find('.', at), name.size());
    size_t length = end - at;
    if (length == 0 || length > 63) return failure(message, kServerFailure);
    data.push_back(static_cast<uint8_t>(length));
    data.insert(data.end(), name.begin() + static_cast<ptrdiff_t>(at), name.begin() + static_cast<ptrdiff_t>(end));
    at = end + 1;
  }
  data.push_back(0);
  if (data.size() > kMaxName) return failure(message, kServerFailure);
  Bytes bytes = begin(message, query, kNoError, false);
  put_record(bytes, kPtr, data);
  if (bytes.size() + (query.edns ? kOptSize : 0) > limit) return truncated(message, query);
  finish(bytes, query, 1);
  return bytes;
}

Bytes answer_code(View message, const Query& query, Rcode rcode, uint8_t extended) {
  Bytes bytes = begin(message, query, rcode, false);
  finish(bytes, query, 0, extended);
  return bytes;
}

bool reversed_address(const std::string& name, Address& address) {
  auto ends_with = [&](const char* suffix) {
    size_t size = std::strlen(suffix);
    return name.size() > size && name.compare(name.size() - size, size, suffix) == 0 ? name.size() - size : 0;
  };
  if (size_t size = ends_with(".in-addr.arpa")) {
    address = {};
    size_t at = 0;
    for (int part = 3; part >= 0; part--) {
      unsigned value = 0;
      size_t digits = 0;
      for (; at < size && name[at] >= '0' && name[at] <= '9' && digits < 3; at++, digits++)
        value = value * 10 + static_cast<unsigned>(name[at] - '0');
      if (digits == 0 || value > 255) return false;
      address.bytes[static_cast<size_t>(part)] = static_cast<uint8_t>(value);
      if (part > 0 && (at >= size || name[at++] != '.')) return false;
    }
    return at == size;
  }
  if (size_t size = ends_with(".ip6.arpa"); size == 63) {
    address = {.v6 = true, .bytes = {}};
    for (size_t nibble = 0; nibble < 32; nibble++) {
      int value = hex(name[nibble * 2]);
      if (value < 0 || (nibble < 31 && name[nibble * 2 + 1] != '.')) return false;
      address.bytes[15 - nibble / 2] |= static_cast<uint8_t>(nibble % 2 == 0 ? value : value << 4);
    }
    return true;
  }
  return false;
}

bool answers(View query, View answer) {
  if (answer.size() < kHeaderSize || (answer[2] & 0x80) == 0 || get_id(query) != get_id(answer)) return false;
  size_t end = question_end(query);
  if (end == 0 || question_end(answer) != end) return false;
  return std::equal(query.begin() + kHeaderSize, query.begin() + static_cast<ptrdiff_t>(end),
                    answer.begin() + kHeaderSize, [](uint8_t a, uint8_t b) { return lower(a) == lower(b); });
}

bool failed(View answer) { return (answer[3] & 0x0f) == kServerFailure; }

void set_id(Bytes& message, uint16_t id) {
  message[0] = static_cast<uint8_t>(id >> 8);
  message[1] = static_cast<uint8_t>(id);
}

uint16_t get_id(View message) { return get_u16(message, 0); }

}  // namespace gantry::dns
