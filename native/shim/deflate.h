#pragma once

#include <stddef.h>
#include <stdint.h>

namespace shim {

/// Compresses into the gzip format. Simple on purpose: one block of the format's fixed codes, matches found through the
/// last place where the same four bytes stood. What repeats as logs do becomes a fifth or less of its size.
struct Gzip {
  /// Takes finished bytes; false stops.
  bool (*write)(void* owner, const uint8_t* bytes, size_t size);
  void* owner;
  /// kHashSize entries, zeroed.
  uint32_t* last_seen;

  static constexpr size_t kHashSize = 1 << 15;

  bool run(const uint8_t* from, size_t size);

 private:
  bool flush();
  void put(uint32_t value, unsigned bits);
  void put_reversed(uint32_t code, unsigned bits);
  void literal(unsigned symbol);
  void match(size_t length, size_t distance);

  uint64_t bit_buffer;
  unsigned bit_count;
  bool failed;
  size_t used;
  uint8_t out[32 * 1024];
};

}  // namespace shim
