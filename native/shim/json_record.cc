#include "json_record.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace shim {
namespace {

constexpr char kHex[] = "0123456789abcdef";

bool plain(uint8_t byte) {
  return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\' && byte != '<' && byte != '>' && byte != '&';
}

/// Length of the well-formed UTF-8 sequence at `at`, or 0. Surrogates, overlong forms and what lies beyond U+10FFFF are
/// not well formed.
size_t sequence_length(const uint8_t* at, size_t left) {
  auto follows = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xbf) { return at[i] >= low && at[i] <= high; };
  uint8_t lead = at[0];
  if (lead >= 0xc2 && lead <= 0xdf) return left >= 2 && follows(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    uint8_t low = lead == 0xe0 ? 0xa0 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : 0xbf;
    return left >= 3 && follows(1, low, high) && follows(2) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    uint8_t low = lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xf4 ? 0x8f : 0xbf;
    return left >= 4 && follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

char* escape_one(char* to, const uint8_t*& from, size_t left) {
  uint8_t byte = *from;
  if (byte < 0x80) {
    ++from;
    *to++ = '\\';
    switch (byte) {
      case '"':
      case '\\':
        *to++ = static_cast<char>(byte);
        return to;
      case '\n':
        *to++ = 'n';
        return to;
      case '\r':
        *to++ = 'r';
        return to;
      default:
        memcpy(to, "u00", 3);
        to[3] = kHex[byte >> 4];
        to[4] = kHex[byte & 15];
        return to + 5;
    }
  }
  size_t length = sequence_length(from, left);
  if (length == 0) {
    ++from;
    memcpy(to, "\\ufffd", 6);
    return to + 6;
  }
  // U+2028 and U+2029 end a line in JavaScript.
  if (length == 3 && from[0] == 0xe2 && from[1] == 0x80 && (from[2] == 0xa8 || from[2] == 0xa9)) {
    memcpy(to, "\\u202", 5);
    to[5] = kHex[from[2] & 15];
    from += 3;
    return to + 6;
  }
  for (size_t i = 0; i < length; ++i) *to++ = static_cast<char>(*from++);
  return to;
}

}  // namespace

char* escape_json(char* to, const uint8_t* from, size_t size) {
  const uint8_t* end = from + size;
  while (from < end) {
#ifdef __SSE2__
    while (end - from >= 16) {
      __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
      // A signed comparison: what is below 0x20 and what is above 0x7f are both "less".
      __m128i special = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
      special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
      special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
      special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('<')));
      special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('>')));
      special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('&')));
      int mask = _mm_movemask_epi8(special);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
      int clean = mask == 0 ? 16 : __builtin_ctz(static_cast<unsigned>(mask));
      from += clean;
      to += clean;
      if (mask != 0) break;
    }
    if (from == end) break;
#endif
    if (plain(*from)) {
      *to++ = static_cast<char>(*from++);
    } else {
      to = escape_one(to, from, static_cast<size_t>(end - from));
    }
  }
  return to;
}

char* format_time(char* to, int64_t seconds, uint32_t nanoseconds) {
  static int64_t cached_seconds = -1;
  static char cached[20];
  if (seconds != cached_seconds) {
    int64_t days = seconds / 86400;
    unsigned rest = static_cast<unsigned>(seconds % 86400);
    // Days since 0000-03-01: with the leap day at the end of the year every month has a fixed start.
    int64_t shifted = days + 719468;
    int64_t era = shifted / 146097;
    unsigned day_of_era = static_cast<unsigned>(shifted - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted_month = (5 * day_of_year + 2) / 153;
    unsigned day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    unsigned month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    unsigned year = year_of_era + static_cast<unsigned>(era) * 400 + (month <= 2 ? 1 : 0);
    auto two = [](char* at, unsigned value) {
      at[0] = static_cast<char>('0' + value / 10 % 10);
      at[1] = static_cast<char>('0' + value % 10);
    };
    memcpy(cached, "0000-00-00T00:00:00", 20);
    two(cached, year / 100);
    two(cached + 2, year % 100);
    two(cached + 5, month);
    two(cached + 8, day);
    two(cached + 11, rest / 3600);
    two(cached + 14, rest / 60 % 60);
    two(cached + 17, rest % 60);
    cached_seconds = seconds;
  }
  memcpy(to, cached, 19);
  to += 19;
  if (nanoseconds != 0) {
    char digits[9];
    for (int i = 8; i >= 0; --i) {
      digits[i] = static_cast<char>('0' + nanoseconds % 10);
      nanoseconds /= 10;
    }
    size_t kept = 9;
    while (digits[kept - 1] == '0') --kept;
    *to++ = '.';
    memcpy(to, digits, kept);
    to += kept;
  }
  *to++ = 'Z';
  return to;
}

}  // namespace shim
