#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cgroup.h"
#include "device_filter.h"
#include "gantry/error.h"

namespace gantry::runtime {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(CgroupPath, CountsAnAbsolutePathFromTheHierarchysRoot) {
  auto cgroups = Cgroups::locate("/docker/abc", "abc");
  for (const auto& dir : cgroups.dirs()) {
    EXPECT_THAT(dir.path, EndsWith(cgroups.v2() ? "/sys/fs/cgroup/docker/abc" : dir.controller + "/docker/abc"));
  }
}

TEST(CgroupPath, CannotClimbOutOfTheHierarchy) {
  auto climbing = Cgroups::locate("/../../etc/x", "x");
  for (const auto& dir : climbing.dirs()) {
    EXPECT_THAT(dir.path, EndsWith("/etc/x"));
    EXPECT_THAT(dir.path, Not(HasSubstr("..")));
  }
  if (!Cgroups::locate("/a", "a").empty()) EXPECT_THROW(Cgroups::locate("/a/..", "a"), InvalidInput);
}

TEST(CgroupConversion, MapsSharesToWeight) {
  EXPECT_EQ(cpu_weight(2), 1u);
  EXPECT_EQ(cpu_weight(1024), 39u);
  EXPECT_EQ(cpu_weight(262144), 10000u);
  EXPECT_EQ(cpu_weight(0), 1u);
}

TEST(CgroupConversion, MapsBlockWeight) {
  EXPECT_EQ(io_weight(10), 1u);
  EXPECT_EQ(io_weight(1000), 10000u);
}

TEST(CgroupConversion, TakesMemoryOutOfSwap) {
  EXPECT_EQ(swap_max(-1, 100), "max");
  EXPECT_EQ(swap_max(300, 100), "200");
  EXPECT_THROW(swap_max(50, 100), InvalidInput);
  EXPECT_THROW(swap_max(50, 0), InvalidInput);
}

/// Runs the program as the kernel would; true when access is allowed.
bool allowed(const std::vector<bpf_insn>& program, char type, char access, std::uint32_t major, std::uint32_t minor) {
  std::uint32_t kind = type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR;
  std::uint32_t bits = access == 'r' ? BPF_DEVCG_ACC_READ : access == 'w' ? BPF_DEVCG_ACC_WRITE : BPF_DEVCG_ACC_MKNOD;
  std::uint32_t context[3] = {bits << 16 | kind, major, minor};
  std::uint64_t r[11] = {};
  for (std::size_t pc = 0; pc < program.size(); ++pc) {
    const auto& i = program[pc];
    auto imm = static_cast<std::uint32_t>(i.imm);
    switch (i.code) {
      case BPF_LDX | BPF_MEM | BPF_W:
        r[i.dst_reg] = context[i.off / 4];
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        r[i.dst_reg] &= imm;
        break;
      case BPF_ALU | BPF_RSH | BPF_K:
        r[i.dst_reg] >>= imm;
        break;
      case BPF_ALU | BPF_MOV | BPF_X:
        r[i.dst_reg] = static_cast<std::uint32_t>(r[i.src_reg]);
        break;
      case BPF_ALU64 | BPF_MOV | BPF_K:
        r[i.dst_reg] = imm;
        break;
      case BPF_JMP | BPF_JNE | BPF_K:
        if (r[i.dst_reg] != imm) pc += static_cast<std::size_t>(i.off);
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        if (r[i.dst_reg] == imm) pc += static_cast<std::size_t>(i.off);
        break;
      case BPF_JMP | BPF_JNE | BPF_X:
        if (r[i.dst_reg] != r[i.src_reg]) pc += static_cast<std::size_t>(i.off);
        break;
      case BPF_JMP | BPF_EXIT:
        return r[0] == 1;
      default:
        ADD_FAILURE() << "unknown instruction " << int(i.code);
        return false;
    }
  }
  ADD_FAILURE() << "ran off the end";
  return false;
}

TEST(DeviceFilter, RefusesWhatNoRuleAllows) {
  auto program = compile_device_filter({{false, 'a', {}, {}, "rwm"}});
  EXPECT_FALSE(allowed(program, 'b', 'r', 8, 0));
  EXPECT_FALSE(allowed(program, 'c', 'r', 10, 229));
}

TEST(DeviceFilter, AlwaysAllowsTheUsualDevicesAndMakingNodes) {
  auto program = compile_device_filter({{false, 'a', {}, {}, "rwm"}});
  EXPECT_TRUE(allowed(program, 'c', 'w', 1, 3));
  EXPECT_TRUE(allowed(program, 'c', 'r', 136, 7));
  EXPECT_TRUE(allowed(program, 'b', 'm', 8, 0));
}

TEST(DeviceFilter, LetsALaterRuleWin) {
  auto program = compile_device_filter(
      {{true, 'a', {}, {}, "rwm"}, {false, 'c', 10, 229, "rwm"}, {false, 'b', 8, {}, "w"}, {true, 'b', 8, 1, "w"}});
  EXPECT_TRUE(allowed(program, 'c', 'r', 10, 200));
  EXPECT_FALSE(allowed(program, 'c', 'r', 10, 229));
  EXPECT_TRUE(allowed(program, 'b', 'r', 8, 0));
  EXPECT_FALSE(allowed(program, 'b', 'w', 8, 0));
  EXPECT_TRUE(allowed(program, 'b', 'w', 8, 1));
}

}  // namespace
}  // namespace gantry::runtime
