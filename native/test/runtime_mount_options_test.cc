#include <gtest/gtest.h>
#include <linux/mount.h>

#include "mount_options.h"

namespace gantry::runtime {
namespace {

TEST(MountOptions, SortsFlagsPropagationAndData) {
  auto options = parse_mount_options({"nosuid", "ro", "rprivate", "mode=755", "newinstance", "rbind"});
  EXPECT_EQ(options.set, static_cast<std::uint64_t>(MOUNT_ATTR_NOSUID | MOUNT_ATTR_RDONLY));
  EXPECT_TRUE(options.bind && options.recursive_bind);
  ASSERT_EQ(options.propagation.size(), 1u);
  EXPECT_TRUE(options.propagation[0].second);
  ASSERT_EQ(options.data.size(), 2u);
  EXPECT_EQ(options.data[0].second, "755");
  EXPECT_FALSE(options.data[1].second.has_value());
}

TEST(MountOptions, LetsTheLaterOfTwoOppositesWin) {
  auto options = parse_mount_options({"ro", "rw"});
  EXPECT_EQ(options.set, 0u);
  EXPECT_EQ(options.clear, static_cast<std::uint64_t>(MOUNT_ATTR_RDONLY));
}

TEST(MountOptions, ReplacesTheAccessTimeFieldWhole) {
  auto options = parse_mount_options({"noatime", "strictatime"});
  EXPECT_EQ(options.set, static_cast<std::uint64_t>(MOUNT_ATTR_STRICTATIME));
  EXPECT_EQ(options.clear, static_cast<std::uint64_t>(MOUNT_ATTR__ATIME));
}

TEST(MountOptions, KeepsFlagsOfTheTreeApart) {
  auto options = parse_mount_options({"rro", "rnosuid"});
  EXPECT_EQ(options.set, 0u);
  EXPECT_EQ(options.set_tree, static_cast<std::uint64_t>(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID));
}

TEST(MountOptions, KeepsACommaWithinQuotes) {
  auto options = parse_mount_options({R"(context="a:b:c1,c2",mode=700)"});
  ASSERT_EQ(options.data.size(), 2u);
  EXPECT_EQ(options.data[0].second, R"("a:b:c1,c2")");
}

}  // namespace
}  // namespace gantry::runtime
