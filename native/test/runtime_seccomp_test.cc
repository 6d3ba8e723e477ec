#include <gtest/gtest.h>

#include "seccomp_filter.h"

namespace gantry::runtime {
namespace {

SeccompFilter sample() {
  SeccompFilter filter;
  filter.flags = 2;
  filter.program = {{6, 0, 0, 0x7fff0000}, {6, 0, 0, 0}};
  return filter;
}

TEST(SeccompCache, GivesBackWhatWasKept) {
  SeccompFilter read;
  ASSERT_TRUE(decode_filter(encode_filter("{}", sample()), "{}", read));
  EXPECT_EQ(read.flags, 2u);
  ASSERT_EQ(read.program.size(), 2u);
  EXPECT_EQ(read.program[0].k, 0x7fff0000u);
}

TEST(SeccompCache, RefusesAnEntryOfAnotherProfile) {
  SeccompFilter read;
  EXPECT_FALSE(decode_filter(encode_filter("{}", sample()), "[]", read));
}

TEST(SeccompCache, RefusesAnyChangedByte) {
  const std::string good = encode_filter("{\"defaultAction\":\"SCMP_ACT_ERRNO\"}", sample());
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    SeccompFilter read;
    // The unused end of the maker's name is not part of what counts.
    if (decode_filter(bad, "{\"defaultAction\":\"SCMP_ACT_ERRNO\"}", read)) {
      EXPECT_GE(i, 8u);
      EXPECT_LT(i, 56u);
      EXPECT_EQ(good[i], 0);
    }
  }
}

TEST(SeccompCache, RefusesATruncatedEntry) {
  const std::string good = encode_filter("{}", sample());
  for (std::size_t n = 0; n < good.size(); ++n) {
    SeccompFilter read;
    EXPECT_FALSE(decode_filter(good.substr(0, n), "{}", read)) << n;
  }
}

}  // namespace
}  // namespace gantry::runtime
