#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cstddef>

#include "seccomp_filter.h"
#include "seccomp_verdict.h"

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

SeccompFilter filter_of(std::vector<sock_filter> program) {
  SeccompFilter filter;
  filter.program = std::move(program);
  return filter;
}

constexpr std::uint32_t kNumber = offsetof(seccomp_data, nr);
constexpr std::uint32_t low_word(int argument) { return offsetof(seccomp_data, args) + 8u * argument; }

TEST(SeccompVerdict, AllowsEverythingWithoutAFilter) { EXPECT_TRUE(allows(SeccompFilter{}, SYS_setsid, {})); }

TEST(SeccompVerdict, ToldByTheNumberOfTheCall) {
  auto filter =
      filter_of({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumber), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setsid, 0, 1),
                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)});
  EXPECT_FALSE(allows(filter, SYS_setsid, {}));
  EXPECT_EQ(verdict(filter, SYS_setsid, {}), SECCOMP_RET_ERRNO | 1u);
  EXPECT_TRUE(allows(filter, SYS_read, {}));
}

TEST(SeccompVerdict, ToldByTheBitsOfAnArgument) {
  auto filter = filter_of({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low_word(1)), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0),
                           BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x30, 1, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_LOG),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)});
  EXPECT_FALSE(allows(filter, SYS_ioctl, {0, 0x35}));
  EXPECT_TRUE(allows(filter, SYS_ioctl, {0, 0x45}));
}

TEST(SeccompVerdict, FollowsMemoryRegistersAndArithmetic) {
  auto filter = filter_of({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low_word(0)), BPF_STMT(BPF_ST, 3),
                           BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 4), BPF_STMT(BPF_ALU | BPF_LSH | BPF_X, 0),
                           BPF_STMT(BPF_LDX | BPF_W | BPF_MEM, 3), BPF_STMT(BPF_ALU | BPF_SUB | BPF_X, 0),
                           BPF_STMT(BPF_MISC | BPF_TAX, 0), BPF_STMT(BPF_MISC | BPF_TXA, 0),
                           BPF_STMT(BPF_JMP | BPF_JA, 1), BPF_STMT(BPF_RET | BPF_K, 0), BPF_STMT(BPF_RET | BPF_A, 0)});
  // (7 << 4) - 7
  EXPECT_EQ(verdict(filter, SYS_read, {7}), 105u);
}

TEST(SeccompVerdict, SaysNoWhereSomebodyElseDecides) {
  for (std::uint32_t action : {SECCOMP_RET_USER_NOTIF, SECCOMP_RET_TRACE, SECCOMP_RET_TRAP, SECCOMP_RET_KILL_THREAD}) {
    EXPECT_FALSE(allows(filter_of({BPF_STMT(BPF_RET | BPF_K, action)}), SYS_read, {}));
  }
}

TEST(SeccompVerdict, SaysNoToWhatTheKernelWouldNotLoad) {
  EXPECT_FALSE(allows(filter_of({BPF_STMT(BPF_JMP | BPF_JA, 7)}), SYS_read, {}));
  EXPECT_FALSE(
      allows(filter_of({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 1000), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}),
             SYS_read, {}));
  EXPECT_FALSE(allows(filter_of({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)}), SYS_read, {}));
}

}  // namespace
}  // namespace gantry::runtime
