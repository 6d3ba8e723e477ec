#pragma once

#include <stddef.h>
#include <stdint.h>

namespace shim {

/// Room that one escaped byte can take, and what the fast path may write past the end.
constexpr size_t kEscapeFactor = 6;
constexpr size_t kEscapeSlack = 16;

/// Writes `size` bytes as the inside of a JSON string, escaped as Go's encoder does with HTML escaping on: readers of
/// Docker's log files expect these very bytes. Invalid UTF-8 becomes U+FFFD. `to` has room for
/// `size * kEscapeFactor + kEscapeSlack`. Returns the end.
char* escape_json(char* to, const uint8_t* from, size_t size);

/// RFC 3339 in UTC with nanoseconds, trailing zeros dropped. `to` has room for 36. Returns the end. The calendar part
/// is computed once a second.
char* format_time(char* to, int64_t seconds, uint32_t nanoseconds);

}  // namespace shim
