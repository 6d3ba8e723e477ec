#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include "gantry/error.h"
#include "spec.h"

namespace gantry::runtime {
namespace {

using ::testing::HasSubstr;

std::string config(const std::string& process = "", const std::string& rest = "", const std::string& linux_rest = "") {
  return R"({"ociVersion":"1.2.0","root":{"path":"rootfs"},"process":{"args":["sh"],"cwd":"/")" + process + "}" + rest +
         R"(,"linux":{"namespaces":[{"type":"mount"},{"type":"pid"}])" + linux_rest + "}}";
}

std::string refusal(const std::string& text) {
  try {
    parse_spec(text);
  } catch (const InvalidInput& e) {
    return e.what();
  }
  return "accepted";
}

TEST(Spec, ReadsAMinimalConfiguration) {
  Spec spec = parse_spec(config());
  EXPECT_EQ(spec.root_path, "rootfs");
  EXPECT_EQ(spec.process->args, std::vector<std::string>{"sh"});
  EXPECT_EQ(spec.new_namespaces(), CLONE_NEWNS | CLONE_NEWPID);
}

TEST(Spec, TakesNullForAbsent) {
  Spec spec = parse_spec(config(R"(,"env":null,"capabilities":null)", R"(,"mounts":null,"hooks":null)"));
  EXPECT_TRUE(spec.process->env.empty());
  EXPECT_FALSE(spec.process->capabilities.has_value());
}

TEST(Spec, NamesTheFieldOfAWrongType) {
  EXPECT_THAT(refusal(config(R"(,"env":["A=1",2])")), HasSubstr("config.json.process.env[1]: expected a string"));
  EXPECT_THAT(refusal(config(R"(,"user":{"uid":-1})")), HasSubstr("config.json.process.user.uid"));
  EXPECT_THAT(refusal(config("", R"(,"mounts":{"destination":"/"})")),
              HasSubstr("config.json.mounts: expected an array"));
}

TEST(Spec, RefusesTheUserIdThatMeansUnchanged) {
  EXPECT_THAT(refusal(config(R"(,"user":{"uid":4294967295})")), HasSubstr("a valid user id"));
}

TEST(Spec, RefusesAZeroByteInAString) {
  EXPECT_THAT(refusal(config(R"(,"env":["A=1\u0000B=2"])")), HasSubstr("zero byte"));
}

TEST(Spec, SurvivesDeepNesting) {
  std::string deep(1000000, '[');
  EXPECT_THAT(refusal(deep), HasSubstr("config.json"));
  EXPECT_THAT(refusal(R"({"a":)" + deep), HasSubstr("config.json"));
}

TEST(Spec, RefusesWhatIsNotJson) {
  EXPECT_THAT(refusal(""), HasSubstr("config.json"));
  EXPECT_THAT(refusal("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(refusal("{\"a\":\"\xff\"}"), HasSubstr("config.json"));
}

TEST(Spec, RefusesANamespaceGivenTwice) {
  EXPECT_THAT(
      refusal(R"({"ociVersion":"1.0.0","root":{"path":"r"},"linux":{"namespaces":[{"type":"pid"},{"type":"pid"}]}})"),
      HasSubstr("duplicated ns: pid"));
}

TEST(Spec, RefusesAUserNamespaceWithoutMappings) {
  EXPECT_THAT(
      refusal(
          R"({"ociVersion":"1.0.0","root":{"path":"r"},"linux":{"namespaces":[{"type":"mount"},{"type":"user"}]}})"),
      HasSubstr("no uid or gid mappings"));
}

TEST(Spec, RefusesAHostNameInTheHostsNamespace) {
  EXPECT_THAT(refusal(config("", R"(,"hostname":"x")")), HasSubstr("UTS namespace"));
}

TEST(Spec, RefusesARelativeWorkingDirectory) {
  EXPECT_THAT(refusal(R"({"ociVersion":"1.0.0","root":{"path":"r"},"process":{"args":["a"],"cwd":"tmp"},"linux":{}})"),
              HasSubstr("cwd must be an absolute path"));
}

TEST(Spec, RefusesAnUnknownOrRepeatedResourceLimit) {
  EXPECT_THAT(refusal(config(R"(,"rlimits":[{"type":"RLIMIT_FOO","soft":1,"hard":1}])")), HasSubstr("RLIMIT_FOO"));
  std::string one = R"({"type":"RLIMIT_NOFILE","soft":1,"hard":1})";
  EXPECT_THAT(refusal(config(R"(,"rlimits":[)" + one + "," + one + "]")), HasSubstr("once"));
}

TEST(Spec, ReadsDeviceRules) {
  Spec spec = parse_spec(config("", "", R"(,"resources":{"devices":[{"allow":false,"access":"rwm"},
    {"allow":true,"type":"c","major":1,"minor":-1,"access":"r"}]})"));
  ASSERT_EQ(spec.resources.devices.size(), 2u);
  EXPECT_EQ(spec.resources.devices[0].type, 'a');
  EXPECT_EQ(spec.resources.devices[1].major, 1);
  EXPECT_FALSE(spec.resources.devices[1].minor.has_value());
}

}  // namespace
}  // namespace gantry::runtime
