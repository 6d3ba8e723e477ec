#include <gtest/gtest.h>

#include <algorithm>

#include "systemd_devices.h"

namespace gantry::runtime {
namespace {

using Allowed = std::vector<std::pair<std::string, std::string>>;

constexpr char kDrivers[] =
    "Character devices:\n  1 mem\n 10 misc\n136 pts\n226 drm\n\nBlock devices:\n  8 sd\n259 blkext\n";
const DeviceRule kNothing{false, 'a', {}, {}, "rwm"};

/// Without those that every container has.
Allowed allowed(const std::vector<DeviceRule>& rules) {
  auto with = systemd_devices(rules, kDrivers).allow, base = systemd_devices({kNothing}, kDrivers).allow;
  EXPECT_GE(with.size(), base.size());
  EXPECT_TRUE(std::equal(base.rbegin(), base.rend(), with.rbegin()));
  with.resize(with.size() - base.size());
  return with;
}

TEST(SystemdDevices, HasWhatEveryContainerNeeds) {
  auto devices = systemd_devices({kNothing}, kDrivers);
  EXPECT_EQ(devices.policy, "strict");
  for (auto one : Allowed{{"/dev/char/1:3", "rwm"}, {"char-pts", "rwm"}, {"char-*", "m"}, {"block-*", "m"}}) {
    EXPECT_NE(std::find(devices.allow.begin(), devices.allow.end(), one), devices.allow.end()) << one.first;
  }
}

TEST(SystemdDevices, NamesOneDeviceByNumbersAndAllOfADriverByItsName) {
  EXPECT_EQ(allowed({kNothing, {true, 'c', 10, 200, "rw"}, {true, 'b', 8, {}, "r"}, {true, 'c', 226, {}, "rwm"}}),
            (Allowed{{"/dev/char/10:200", "rw"}, {"block-sd", "r"}, {"char-drm", "rwm"}}));
}

TEST(SystemdDevices, LeavesOutDriversThatAreNotThere) {
  EXPECT_EQ(allowed({kNothing, {true, 'c', 8, {}, "rw"}, {true, 'b', 9, {}, "rw"}}), Allowed{});
}

TEST(SystemdDevices, CountsOnlyFromTheLastRuleAboutEverything) {
  EXPECT_EQ(allowed({{true, 'c', 10, 200, "rw"}, kNothing, {true, 'c', 10, 229, "r"}}),
            (Allowed{{"/dev/char/10:229", "r"}}));
  auto open = systemd_devices({kNothing, {true, 'a', {}, {}, "rwm"}, {false, 'c', 10, 200, "rwm"}}, kDrivers);
  EXPECT_EQ(open.policy, "auto");
  EXPECT_TRUE(open.allow.empty());
}

TEST(SystemdDevices, TakesARuleOfNoKindForBoth) {
  EXPECT_EQ(allowed({kNothing, {true, 'a', {}, {}, "r"}}), (Allowed{{"char-*", "r"}, {"block-*", "r"}}));
}

}  // namespace
}  // namespace gantry::runtime
