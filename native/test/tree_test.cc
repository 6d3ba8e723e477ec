#include "gantry/tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "gantry/archive_input.h"
#include "gantry/blob.h"
#include "gantry/error.h"
#include "gantry/extract.h"
#include "gantry/fd.h"
#include "gantry/pack.h"
#include "gantry/path.h"
#include "gantry/tar_reader.h"
#include "gantry/tree_changes.h"

namespace gantry {
namespace {

namespace fs = std::filesystem;

void set(std::string& block, size_t at, const std::string& text) { block.replace(at, text.size(), text); }

std::string octal(uint64_t value, size_t length) {
  std::string digits(length, '0');
  for (size_t i = length; i-- > 0; value >>= 3) digits[i] = static_cast<char>('0' + (value & 7));
  return digits;
}

/// One entry with its content; `type` as in the header's type flag.
std::string entry(const std::string& name, char type, const std::string& content = "", const std::string& link = "") {
  std::string block(512, '\0');
  set(block, 0, name.substr(0, 100));
  set(block, 100, type == '5' ? "0000755" : "0000644");
  set(block, 108, octal(geteuid(), 7));
  set(block, 116, octal(getegid(), 7));
  set(block, 124, octal(content.size(), 11));
  set(block, 136, octal(1600000000, 11));
  block[156] = type;
  set(block, 157, link);
  set(block, 257, std::string("ustar\00000", 8));
  set(block, 148, "        ");
  unsigned sum = 0;
  for (char c : block) sum += static_cast<unsigned char>(c);
  set(block, 148, octal(sum, 6) + std::string("\0 ", 2));
  std::string body = content;
  body.resize((body.size() + 511) / 512 * 512);
  return block + body;
}

const std::string kEnd(1024, '\0');

/// A folder of this test alone, with a target to fill and a neighbour that nothing may touch.
class TreeTest : public testing::Test {
 protected:
  TreeTest() {
    // As in the process that the library is for.
    signal(SIGPIPE, SIG_IGN);
    std::string pattern = (fs::temp_directory_path() / "gantry-tree-test-XXXXXX").string();
    if (!mkdtemp(pattern.data())) throw_errno("mkdtemp", pattern);
    root_ = pattern;
    fs::create_directory(root_ / "target");
    fs::create_directory(root_ / "outside");
    write(root_ / "outside" / "file", "untouched");
  }
  ~TreeTest() override { remove_tree(root_.string()); }

  static void write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }
  static std::string read(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  uint64_t unpack(const std::string& archive, Whiteouts whiteouts = Whiteouts::remove) {
    write(root_ / "archive", archive);
    UniqueFd fd(::open((root_ / "archive").c_str(), O_RDONLY | O_CLOEXEC));
    uint64_t bytes = 0;
    std::exception_ptr thrown;
    // extract changes its thread's umask.
    std::thread([&] {
      try {
        UniqueFd target = open_folder((root_ / "target").string(), O_RDONLY);
        ArchiveLimits limits;
        ArchiveInput input(fd.get(), limits);
        TarReader reader(input, limits);
        ExtractOptions options;
        options.root = target.get();
        options.whiteouts = whiteouts;
        bytes = extract(reader, options);
        input.finish();
      } catch (...) {
        thrown = std::current_exception();
      }
    }).join();
    if (thrown) std::rethrow_exception(thrown);
    return bytes;
  }

  void expect_untouched() const {
    EXPECT_EQ(read(root_ / "outside" / "file"), "untouched");
    size_t count = 0;
    for ([[maybe_unused]] const auto& one : fs::directory_iterator(root_ / "outside")) count++;
    EXPECT_EQ(count, 1U);
  }

  fs::path root_;
};

TEST_F(TreeTest, UnpacksCopiesAndPacksTheSameTree) {
  EXPECT_EQ(unpack(entry("a", '5') + entry("a/file", '0', std::string(300'000, 'x')) + entry("a/empty", '0') +
                   entry("a/hard", '1', "", "a/file") + entry("link", '2', "", "a/file") + kEnd),
            300'000U);
  fs::create_directory(root_ / "copy");
  {
    UniqueFd from = open_folder((root_ / "target").string(), O_RDONLY);
    UniqueFd to = open_folder((root_ / "copy").string(), O_RDONLY);
    copy_tree(from.get(), to.get(), true);
  }
  EXPECT_EQ(read(root_ / "copy" / "link"), std::string(300'000, 'x'));
  EXPECT_EQ(fs::hard_link_count(root_ / "copy" / "a" / "file"), 2U);
  std::string digests[2];
  for (int i = 0; i < 2; i++) {
    UniqueFd out(::open((root_ / "packed").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    digests[i] =
        pack_diff((root_ / (i == 0 ? "target" : "copy")).string(), std::nullopt, Compare::properties, {}, out.get())
            .digest;
  }
  EXPECT_EQ(digests[0], digests[1]);
}

TEST_F(TreeTest, FindsByContentWhatPropertiesHide) {
  for (const char* tree : {"target", "copy"}) {
    fs::create_directories(root_ / tree);
    for (const char* name : {"same", "other"}) {
      UniqueFd file(::open((root_ / tree / name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
      const std::string text = std::string(200'000, 'x') + (std::string(tree) + name == "copyother" ? "2" : "1");
      ASSERT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
      const timespec times[2] = {{1, 0}, {1, 0}};
      ASSERT_EQ(::futimens(file.get(), times), 0);
    }
  }
  const auto changed = [&](Compare compare) {
    std::vector<std::string> paths;
    for (const Change& change : collect_changes([&](const TakeChange& take) {
           walk_diff((root_ / "copy").string(), (root_ / "target").string(), compare, take);
         }))
      paths.push_back(change.path);
    return paths;
  };
  EXPECT_EQ(changed(Compare::properties), std::vector<std::string>());
  EXPECT_EQ(changed(Compare::content), std::vector<std::string>{"/other"});
}

TEST_F(TreeTest, KeepsHostileArchivesInside) {
  const std::string outside = (root_ / "outside").string();
  const std::string archives[] = {
      entry("../outside/file", '0', "x"),
      entry("a/../../outside/file", '0', "x"),
      entry(outside + "/file", '0', "x"),
      entry("out", '2', "", outside) + entry("out/file", '0', "x"),
      entry("out", '2', "", "../outside") + entry("out/file", '0', "x"),
      entry("hard", '1', "", "../outside/file") + entry("hard", '0', "x"),
      entry("out", '2', "", outside) + entry("hard", '1', "", "out/file"),
      entry("out", '2', "", outside) + entry("out/.wh.file", '0'),
      entry("out", '2', "", outside) + entry("out/.wh..wh..opq", '0'),
      entry(".wh...", '0'),
      entry("loop", '2', "", "loop") + entry("loop/file", '0', "x"),
      entry("", '0', "x"),
      entry("d", '5') + entry("d/f", '0', "1") + entry("d", '2', "", outside) + entry("d/file", '0', "x"),
  };
  for (const std::string& archive : archives) {
    for (Whiteouts whiteouts : {Whiteouts::remove, Whiteouts::plain}) {
      try {
        unpack(archive + kEnd, whiteouts);
      } catch (const InvalidInput&) {
        // Refused is as good as kept inside.
      }
      expect_untouched();
      remove_tree((root_ / "target").string());
      fs::create_directory(root_ / "target");
    }
  }
}

TEST_F(TreeTest, RefusesAnArchiveThatIsCutAnywhereInAnEntry) {
  const std::string archive = entry("one", '0', std::string(600, '1')) + entry("two", '0', "2");
  for (size_t length = 1; length < archive.size(); length += 97)
    EXPECT_THROW(unpack(archive.substr(0, length)), InvalidInput) << length;
}

TEST_F(TreeTest, GivesAReaderTheBytesOfAGrowingBlob) {
  int in[2], tee[2];
  ASSERT_EQ(pipe2(in, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(tee, O_CLOEXEC), 0);
  UniqueFd source(in[0]), copy(tee[0]);
  const std::string bytes(5'000'000, 'b');
  std::thread writer([fd = UniqueFd(in[1]), &bytes] { write_all(fd.get(), bytes.data(), bytes.size()); });
  // Nobody reads along yet, and the blob is complete all the same.
  Digested stored = ingest(source.get(), (root_ / "blob").string(), bytes.size(), UniqueFd(tee[1]));
  writer.join();
  EXPECT_EQ(stored.size, bytes.size());
  EXPECT_EQ(hash_uncompressed(copy.get()).digest, stored.digest);
}

TEST_F(TreeTest, EndsTheReaderEarlyWhenTheBlobIsTooLarge) {
  int in[2], tee[2];
  ASSERT_EQ(pipe2(in, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(tee, O_CLOEXEC), 0);
  UniqueFd source(in[0]), copy(tee[0]);
  {
    UniqueFd sink(in[1]);
    write_all(sink.get(), "0123456789", 10);
  }
  EXPECT_THROW(ingest(source.get(), (root_ / "blob").string(), 9, UniqueFd(tee[1])), InvalidInput);
  EXPECT_FALSE(fs::exists(root_ / "blob"));
  EXPECT_EQ(hash_uncompressed(copy.get()).size, 0U);
}

TEST_F(TreeTest, GoesOnWhenTheReaderLeaves) {
  int in[2], tee[2];
  ASSERT_EQ(pipe2(in, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(tee, O_CLOEXEC), 0);
  UniqueFd source(in[0]);
  ::close(tee[0]);
  std::thread writer([fd = UniqueFd(in[1])] {
    const std::string bytes(3'000'000, 'b');
    write_all(fd.get(), bytes.data(), bytes.size());
  });
  EXPECT_EQ(ingest(source.get(), (root_ / "blob").string(), 3'000'000, UniqueFd(tee[1])).size, 3'000'000U);
  writer.join();
}

}  // namespace
}  // namespace gantry
