#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "gantry/error.h"
#include "path_in_root.h"

namespace gantry::runtime {
namespace {

namespace fs = std::filesystem;

class PathInRoot : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-path-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    base_ = name;
    fs::create_directories(base_ / "root/etc");
    fs::create_directories(base_ / "victim");
    fd_.reset(::open((base_ / "root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(fd_);
  }
  void TearDown() override { fs::remove_all(base_); }

  fs::path base_;
  UniqueFd fd_;
};

TEST_F(PathInRoot, ResolvesAnAbsoluteLinkWithinTheRoot) {
  fs::create_directory_symlink("/run", base_ / "root/var-run");
  fs::create_directory(base_ / "root/run");
  open_or_create_in_root(fd_.get(), "/var-run/lock", Kind::kDirectory);
  EXPECT_TRUE(fs::is_directory(base_ / "root/run/lock"));
}

TEST_F(PathInRoot, CannotBeLedOutByLinksOrDots) {
  fs::create_directory_symlink("../../victim", base_ / "root/relative");
  fs::create_directory_symlink(base_ / "victim", base_ / "root/absolute");
  for (const char* path : {"/relative/a", "/absolute/b", "/../victim/c", "/etc/../../victim/d"}) {
    open_or_create_in_root(fd_.get(), path, Kind::kFile);
  }
  EXPECT_TRUE(fs::is_empty(base_ / "victim"));
}

TEST_F(PathInRoot, MakesTheTargetOfADanglingLink) {
  fs::create_symlink("../run/resolv.conf", base_ / "root/etc/resolv.conf");
  open_or_create_in_root(fd_.get(), "/etc/resolv.conf", Kind::kFile);
  EXPECT_TRUE(fs::is_regular_file(base_ / "root/run/resolv.conf"));
}

TEST_F(PathInRoot, GivesUpOnALoop) {
  fs::create_symlink("b", base_ / "root/a");
  fs::create_symlink("a", base_ / "root/b");
  EXPECT_THROW(open_or_create_in_root(fd_.get(), "/a", Kind::kFile), SysError);
  EXPECT_THROW(open_or_create_in_root(fd_.get(), "/a/c", Kind::kDirectory), SysError);
}

TEST_F(PathInRoot, FollowsNoMagicLink) {
  UniqueFd top(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(top);
  EXPECT_FALSE(try_open_in_root(top.get(), "/proc/self/root/etc"));
  EXPECT_EQ(errno, ELOOP);
}

}  // namespace
}  // namespace gantry::runtime
