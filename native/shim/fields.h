#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace shim {

/// `key=value` strings, each ended by NUL: the shape of what is sent and asked where there is more than a number.
struct Fields {
  const char* bytes;
  size_t size;

  /// Ends in NUL, so that every value is a C string.
  bool well_formed() const { return size > 0 && bytes[size - 1] == '\0'; }

  const char* find(const char* key, const char* absent = nullptr) const {
    size_t length = strlen(key);
    for (size_t at = 0; at < size; at += strlen(bytes + at) + 1) {
      if (strncmp(bytes + at, key, length) == 0 && bytes[at + length] == '=') return bytes + at + length + 1;
    }
    return absent;
  }

  uint64_t number(const char* key) const {
    const char* text = find(key);
    return text ? strtoull(text, nullptr, 10) : 0;
  }

  bool flag(const char* key) const { return number(key) != 0; }
};

/// Builds such a list in a buffer of fixed size; what does not fit is left out.
struct FieldWriter {
  char bytes[2048];
  size_t used = 0;

  void add(const char* key, const char* value) {
    int size = snprintf(bytes + used, sizeof bytes - used, "%s=%s", key, value);
    if (size > 0 && static_cast<size_t>(size) < sizeof bytes - used) used += static_cast<size_t>(size) + 1;
  }
  void add(const char* key, uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%llu", static_cast<unsigned long long>(value));
    add(key, text);
  }
};

}  // namespace shim
