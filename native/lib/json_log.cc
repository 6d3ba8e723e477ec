#include "gantry/json_log.h"

#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace gantry {
namespace {

constexpr size_t kFrameHead = 8;
/// 2006-01-02T15:04:05
constexpr size_t kSecondText = 19;
constexpr size_t kFractionDigits = 9;
/// With the fraction, Z and a space.
constexpr size_t kTimestamp = kSecondText + 1 + kFractionDigits + 2;

constexpr char kHead[] = "{\"log\":\"";
constexpr char kStream[] = "\",\"stream\":\"std";
constexpr char kTimeKey[] = "\"time\":\"";
constexpr char kEnd[] = "\"}";

template <size_t N>
constexpr size_t length(const char (&)[N]) {
  return N - 1;
}

template <size_t N>
bool starts_with(const uint8_t* at, const uint8_t* end, const char (&text)[N]) {
  return static_cast<size_t>(end - at) >= length(text) && memcmp(at, text, length(text)) == 0;
}

bool two_digits(const uint8_t* at, unsigned& value) {
  if (at[0] < '0' || at[0] > '9' || at[1] < '0' || at[1] > '9') return false;
  value = static_cast<unsigned>(at[0] - '0') * 10 + static_cast<unsigned>(at[1] - '0');
  return true;
}

/// Seconds since 1970 of 2006-01-02T15:04:05. The calendar is not checked beyond what keeps the sum right.
bool parse_second(const uint8_t* at, int64_t& seconds) {
  unsigned century, year, month, day, hour, minute, second;
  if (!two_digits(at, century) || !two_digits(at + 2, year) || !two_digits(at + 5, month) || !two_digits(at + 8, day) ||
      !two_digits(at + 11, hour) || !two_digits(at + 14, minute) || !two_digits(at + 17, second) || at[4] != '-' ||
      at[7] != '-' || at[10] != 'T' || at[13] != ':' || at[16] != ':' || month < 1 || month > 12 || day < 1 ||
      day > 31 || hour > 23 || minute > 59 || second > 60)
    return false;
  // The year begins in March, so that the leap day is its last.
  int64_t shifted_year = static_cast<int64_t>(century * 100 + year) - (month <= 2 ? 1 : 0);
  int64_t era = (shifted_year >= 0 ? shifted_year : shifted_year - 399) / 400;
  int64_t year_of_era = shifted_year - era * 400;
  int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  int64_t days = era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
  seconds = days * 86400 + hour * 3600 + minute * 60 + second;
  return true;
}

/// Records that were written together carry the same time, so the last one is kept.
struct Clock {
  uint8_t text[kSecondText + 1 + kFractionDigits + 1] = {};
  size_t size = 0;
  int64_t nanoseconds = 0;
  uint8_t digits[kFractionDigits] = {};

  /// From a time in UTC as the log has it, up to and with its Z.
  bool read(const uint8_t* at, size_t length) {
    if (length == size && memcmp(at, text, length) == 0) return true;
    size = 0;
    if (length < kSecondText + 1 || length > sizeof text || at[length - 1] != 'Z') return false;
    int64_t seconds;
    if (!parse_second(at, seconds)) return false;
    memset(digits, '0', sizeof digits);
    if (length > kSecondText + 1) {
      if (at[kSecondText] != '.') return false;
      memcpy(digits, at + kSecondText + 1, length - kSecondText - 2);
    }
    int64_t fraction = 0;
    for (uint8_t digit : digits) {
      if (digit < '0' || digit > '9') return false;
      fraction = fraction * 10 + (digit - '0');
    }
    // Years beyond what 64 bits of nanoseconds hold.
    if (seconds > INT64_MAX / 1000000000 - 1 || seconds < INT64_MIN / 1000000000 + 1) return false;
    nanoseconds = seconds * 1000000000 + fraction;
    memcpy(text, at, length);
    size = length;
    return true;
  }
};

int hex_digit(uint8_t byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
  if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
  return -1;
}

/// The four digits of a \u escape, or -1.
int hex4(const uint8_t* at, const uint8_t* end) {
  if (end - at < 4) return -1;
  int value = 0;
  for (int i = 0; i < 4; ++i) {
    int digit = hex_digit(at[i]);
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

uint8_t* put_utf8(uint8_t* to, uint32_t code) {
  if (code < 0x80) {
    *to++ = static_cast<uint8_t>(code);
  } else if (code < 0x800) {
    *to++ = static_cast<uint8_t>(0xc0 | code >> 6);
    *to++ = static_cast<uint8_t>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *to++ = static_cast<uint8_t>(0xe0 | code >> 12);
    *to++ = static_cast<uint8_t>(0x80 | (code >> 6 & 0x3f));
    *to++ = static_cast<uint8_t>(0x80 | (code & 0x3f));
  } else {
    *to++ = static_cast<uint8_t>(0xf0 | code >> 18);
    *to++ = static_cast<uint8_t>(0x80 | (code >> 12 & 0x3f));
    *to++ = static_cast<uint8_t>(0x80 | (code >> 6 & 0x3f));
    *to++ = static_cast<uint8_t>(0x80 | (code & 0x3f));
  }
  return to;
}

/// `from` stands on a backslash. False when it is no escape, or half of a surrogate pair.
bool unescape(const uint8_t*& from, const uint8_t* end, uint8_t*& to) {
  if (end - from < 2) return false;
  uint8_t kind = from[1];
  const uint8_t* rest = from + 2;
  switch (kind) {
    case 'n':
      *to++ = '\n';
      break;
    case 'r':
      *to++ = '\r';
      break;
    case 't':
      *to++ = '\t';
      break;
    case 'b':
      *to++ = '\b';
      break;
    case 'f':
      *to++ = '\f';
      break;
    case '"':
    case '\\':
    case '/':
      *to++ = kind;
      break;
    case 'u': {
      int code = hex4(rest, end);
      if (code < 0 || (code >= 0xdc00 && code < 0xe000)) return false;
      rest += 4;
      uint32_t whole = static_cast<uint32_t>(code);
      if (code >= 0xd800 && code < 0xdc00) {
        int low = starts_with(rest, end, "\\u") ? hex4(rest + 2, end) : -1;
        if (low < 0xdc00 || low >= 0xe000) return false;
        whole = 0x10000 + (static_cast<uint32_t>(code - 0xd800) << 10) + static_cast<uint32_t>(low - 0xdc00);
        rest += 6;
      }
      to = put_utf8(to, whole);
      break;
    }
    default:
      return false;
  }
  from = rest;
  return true;
}

/// Copies the inside of a JSON string to `to` and leaves `from` on its closing quote. False when it has none before
/// `end`, or holds what is no escape.
bool copy_string(const uint8_t*& from, const uint8_t* end, uint8_t*& to) {
  for (;;) {
#ifdef __SSE2__
    while (end - from >= 16) {
      __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
      __m128i special =
          _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
      unsigned mask = static_cast<unsigned>(_mm_movemask_epi8(special));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
      int plain = mask == 0 ? 16 : __builtin_ctz(mask);
      from += plain;
      to += plain;
      if (mask != 0) break;
    }
#endif
    while (from < end && *from != '"' && *from != '\\') *to++ = *from++;
    if (from == end) return false;
    if (*from == '"') return true;
    if (!unescape(from, end, to)) return false;
  }
}

}  // namespace

LogRun pack_log(const uint8_t* from, size_t size, const LogForm& form, uint8_t* to) {
  LogRun run;
  Clock clock;
  const uint8_t* end = from + size;
  const uint8_t* at = from;
  uint8_t* out = to;
  const size_t before = (form.framed ? kFrameHead : 0) + (form.timestamps ? kTimestamp : 0);
  while (at < end) {
    // {"log":"…","stream":"stdout","attrs":{…},"time":"2006-01-02T15:04:05.999999999Z"}, attributes or none. The end of
    // the line is the one place that is known, since no string holds a raw line end.
    const uint8_t* newline = static_cast<const uint8_t*>(memchr(at, '\n', static_cast<size_t>(end - at)));
    if (!newline || !starts_with(at, newline, kHead)) break;
    const uint8_t* content = at + length(kHead);
    if (newline - content < static_cast<ptrdiff_t>(length(kEnd)) ||
        memcmp(newline - length(kEnd), kEnd, length(kEnd)) != 0)
      break;
    const uint8_t* time_end = newline - length(kEnd);
    const uint8_t* time = time_end;
    while (time > content && time[-1] != '"') --time;
    if (time - content < static_cast<ptrdiff_t>(length(kTimeKey)) ||
        memcmp(time - length(kTimeKey), kTimeKey, length(kTimeKey)) != 0)
      break;
    if (!clock.read(time, static_cast<size_t>(time_end - time))) break;
    if (clock.nanoseconds > form.until) {
      run.past = true;
      break;
    }
    const uint8_t* fields_end = time - length(kTimeKey);

    // Written before it is known whether the record is wanted; what is not counted is written over.
    uint8_t* line = out + before;
    uint8_t* line_end = line;
    if (!copy_string(content, fields_end, line_end) || !starts_with(content, fields_end, kStream)) break;
    const uint8_t* stream = content + length(kStream);
    bool is_out = starts_with(stream, fields_end, "out\",");
    if (!is_out && !starts_with(stream, fields_end, "err\",")) break;
    const uint8_t* more = stream + 5;
    if (more != fields_end && !(starts_with(more, fields_end, "\"attrs\":{") && memcmp(fields_end - 2, "},", 2) == 0))
      break;

    if ((is_out ? form.out : form.err) && clock.nanoseconds >= form.since) {
      uint8_t* head = out;
      if (form.framed) {
        uint32_t count = static_cast<uint32_t>(line_end - line) + (form.timestamps ? kTimestamp : 0);
        const uint8_t frame[kFrameHead] = {static_cast<uint8_t>(is_out ? 1 : 2),
                                           0,
                                           0,
                                           0,
                                           static_cast<uint8_t>(count >> 24),
                                           static_cast<uint8_t>(count >> 16),
                                           static_cast<uint8_t>(count >> 8),
                                           static_cast<uint8_t>(count)};
        memcpy(head, frame, kFrameHead);
        head += kFrameHead;
      }
      if (form.timestamps) {
        memcpy(head, clock.text, kSecondText);
        head[kSecondText] = '.';
        memcpy(head + kSecondText + 1, clock.digits, kFractionDigits);
        memcpy(head + kSecondText + 1 + kFractionDigits, "Z ", 2);
      }
      out = line_end;
    }
    run.last = clock.nanoseconds;
    at = newline + 1;
  }
  run.taken = static_cast<size_t>(at - from);
  run.written = static_cast<size_t>(out - to);
  return run;
}

}  // namespace gantry
