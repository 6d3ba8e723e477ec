#include "deflate.h"

#include <string.h>

namespace shim {
namespace {

constexpr size_t kMinMatch = 4;
constexpr size_t kMaxMatch = 258;
constexpr size_t kWindow = 32 * 1024;

uint32_t crc_of(const uint8_t* bytes, size_t size) {
  static uint32_t table[256];
  if (table[1] == 0) {
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? (value >> 1) ^ 0xedb88320U : value >> 1;
      table[i] = value;
    }
  }
  uint32_t crc = ~0U;
  for (size_t i = 0; i < size; ++i) crc = table[(crc ^ bytes[i]) & 255] ^ (crc >> 8);
  return ~crc;
}

uint32_t four_bytes(const uint8_t* at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

}  // namespace

bool Gzip::flush() {
  if (!failed && used > 0 && !write(owner, out, used)) failed = true;
  used = 0;
  return !failed;
}

void Gzip::put(uint32_t value, unsigned bits) {
  bit_buffer |= static_cast<uint64_t>(value) << bit_count;
  bit_count += bits;
  while (bit_count >= 8) {
    if (used == sizeof out) flush();
    out[used++] = static_cast<uint8_t>(bit_buffer);
    bit_buffer >>= 8;
    bit_count -= 8;
  }
}

/// Huffman codes are stored from their highest bit on, everything else from the lowest.
void Gzip::put_reversed(uint32_t code, unsigned bits) {
  uint32_t reversed = 0;
  for (unsigned i = 0; i < bits; ++i) reversed |= ((code >> i) & 1) << (bits - 1 - i);
  put(reversed, bits);
}

void Gzip::literal(unsigned symbol) {
  if (symbol < 144) {
    put_reversed(0x30 + symbol, 8);
  } else if (symbol < 256) {
    put_reversed(0x190 + symbol - 144, 9);
  } else if (symbol < 280) {
    put_reversed(symbol - 256, 7);
  } else {
    put_reversed(0xc0 + symbol - 280, 8);
  }
}

void Gzip::match(size_t length, size_t distance) {
  // Lengths and distances are grouped so that each further bit of offset doubles the group.
  if (length == kMaxMatch) {
    literal(285);
  } else if (length < 11) {
    literal(static_cast<unsigned>(257 + length - 3));
  } else {
    unsigned offset = static_cast<unsigned>(length - 3);
    unsigned extra = 29 - static_cast<unsigned>(__builtin_clz(offset));
    literal(261 + 4 * extra + (offset >> extra) - 4);
    put(offset & ((1U << extra) - 1), extra);
  }
  unsigned offset = static_cast<unsigned>(distance - 1);
  if (offset < 4) {
    put_reversed(offset, 5);
  } else {
    unsigned extra = 30 - static_cast<unsigned>(__builtin_clz(offset));
    put_reversed(2 * extra + 2 + ((offset >> extra) & 1), 5);
    put(offset & ((1U << extra) - 1), extra);
  }
}

bool Gzip::run(const uint8_t* from, size_t size) {
  bit_buffer = 0;
  bit_count = 0;
  failed = false;
  used = 0;
  const uint8_t header[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
  for (uint8_t byte : header) put(byte, 8);
  // The last block, fixed codes.
  put(1, 1);
  put(1, 2);
  size_t at = 0;
  while (at < size && !failed) {
    if (size - at >= kMinMatch) {
      uint32_t* seen = &last_seen[(four_bytes(from + at) * 2654435761U) >> 17];
      // Positions are kept from 1 on and modulo 2^32; the comparison below settles what they mean.
      size_t distance = static_cast<uint32_t>(static_cast<uint32_t>(at) + 1 - *seen);
      bool known = *seen != 0 && distance > 0 && distance <= kWindow && distance <= at;
      *seen = static_cast<uint32_t>(at) + 1;
      if (known && four_bytes(from + at) == four_bytes(from + at - distance)) {
        size_t limit = size - at < kMaxMatch ? size - at : kMaxMatch;
        size_t length = kMinMatch;
        while (length < limit && from[at + length] == from[at + length - distance]) ++length;
        match(length, distance);
        at += length;
        continue;
      }
    }
    literal(from[at++]);
  }
  literal(256);
  if (bit_count > 0) put(0, 8 - bit_count);
  put(crc_of(from, size), 32);
  put(static_cast<uint32_t>(size), 32);
  return flush();
}

}  // namespace shim
