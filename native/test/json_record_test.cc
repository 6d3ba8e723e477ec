#include <gtest/gtest.h>

#include <cstring>
#include <ctime>
#include <string>
#include <vector>

// The shim is built by another compiler, without the C++ library; its sources are tested here as they are.
#include "../shim/json_record.cc"

namespace {

std::string escaped(const std::string& text) {
  // Exactly the room that is promised, on the heap, so that a sanitizer sees one byte too many.
  std::vector<char> to(text.size() * shim::kEscapeFactor + shim::kEscapeSlack);
  std::vector<uint8_t> from(text.begin(), text.end());
  char* end = shim::escape_json(to.data(), from.data(), from.size());
  return std::string(to.data(), end);
}

std::string timed(int64_t seconds, uint32_t nanoseconds) {
  char to[36];
  return std::string(to, shim::format_time(to, seconds, nanoseconds));
}

}  // namespace

TEST(EscapeJson, KeepsPlainTextWhateverItsLength) {
  for (size_t size = 0; size < 70; ++size) {
    std::string text(size, 'x');
    EXPECT_EQ(escaped(text), text);
  }
}

TEST(EscapeJson, FindsWhatMustBeEscapedAtEveryPlace) {
  const std::pair<std::string, std::string> cases[] = {
      {"\"", "\\\""},
      {"\\", "\\\\"},
      {"\n", "\\n"},
      {"\r", "\\r"},
      {"\t", "\\u0009"},
      {"<", "\\u003c"},
      {">", "\\u003e"},
      {"&", "\\u0026"},
      {"\x01", "\\u0001"},
      {"\x7f", "\x7f"},
      {"\xff", "\\ufffd"},
      {"\xc3\xa9", "\xc3\xa9"},
      {"\xe2\x80\xa8", "\\u2028"},
      {"\xe2\x80\xa9", "\\u2029"},
      {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
      // Overlong, a surrogate, beyond the last code point, cut off.
      {"\xc0\xaf", "\\ufffd\\ufffd"},
      {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"},
      {"\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"},
      {"\xe2\x82", "\\ufffd\\ufffd"},
  };
  for (const auto& [text, expected] : cases) {
    for (size_t before = 0; before < 34; ++before) {
      std::string left(before, 'a');
      EXPECT_EQ(escaped(left + text), left + expected);
      EXPECT_EQ(escaped(left + text + "zz"), left + expected + "zz");
    }
  }
}

TEST(FormatTime, AgreesWithTheCalendar) {
  for (int64_t seconds : {0LL, 951782399LL, 951782400LL, 951868800LL, 1709164799LL, 1709251199LL, 1735689599LL,
                          1735689600LL, 4102444800LL, 4107542400LL, 253402300799LL}) {
    time_t when = static_cast<time_t>(seconds);
    tm parts;
    gmtime_r(&when, &parts);
    char expected[40];
    std::strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%SZ", &parts);
    EXPECT_EQ(timed(seconds, 0), expected);
  }
}

TEST(FormatTime, DropsTrailingZeros) {
  EXPECT_EQ(timed(0, 1), "1970-01-01T00:00:00.000000001Z");
  EXPECT_EQ(timed(0, 120000000), "1970-01-01T00:00:00.12Z");
  EXPECT_EQ(timed(59, 999999999), "1970-01-01T00:00:59.999999999Z");
}
