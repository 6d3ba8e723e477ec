#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "gantry/error.h"
#include "gantry/tar_reader.h"

namespace gantry {
namespace {

/// Bytes in pieces of a given size, as a decompressor may give them.
class Pieces : public TarInput {
 public:
  Pieces(std::string bytes, size_t piece) : bytes_(std::move(bytes)), piece_(piece) {}
  std::span<const uint8_t> next() override {
    size_t count = std::min(piece_, bytes_.size() - at_);
    auto* from = reinterpret_cast<const uint8_t*>(bytes_.data()) + at_;
    at_ += count;
    return {from, count};
  }

 private:
  std::string bytes_;
  size_t piece_;
  size_t at_ = 0;
};

struct Header {
  std::string name;
  char type = '0';
  uint64_t size = 0;
  std::string link;
};

void set(std::string& block, size_t at, const std::string& text) { block.replace(at, text.size(), text); }

std::string octal(uint64_t value, size_t length) {
  std::string digits(length, '0');
  for (size_t i = length; i-- > 0; value >>= 3) digits[i] = static_cast<char>('0' + (value & 7));
  return digits;
}

void seal(std::string& block) {
  set(block, 148, "        ");
  unsigned sum = 0;
  for (char c : block) sum += static_cast<unsigned char>(c);
  set(block, 148, octal(sum, 6) + std::string("\0 ", 2));
}

std::string header(const Header& h) {
  std::string block(512, '\0');
  set(block, 0, h.name.substr(0, 100));
  set(block, 100, "0000644");
  set(block, 108, "0001750");
  set(block, 116, "0000144");
  set(block, 124, octal(h.size, 11));
  set(block, 136, octal(1600000000, 11));
  block[156] = h.type;
  set(block, 157, h.link);
  set(block, 257, std::string("ustar\00000", 8));
  seal(block);
  return block;
}

std::string padded(std::string text) {
  text.resize((text.size() + 511) / 512 * 512);
  return text;
}

std::string file(const std::string& name, const std::string& content) {
  return header({name, '0', content.size(), {}}) + padded(content);
}

std::string pax(const std::string& records) { return header({"pax", 'x', records.size(), {}}) + padded(records); }

const std::string kEnd(1024, '\0');

struct Read {
  TarEntry entry;
  std::string content;
};

std::vector<Read> read_all(const std::string& bytes, size_t piece = 1 << 20, ArchiveLimits limits = {}) {
  Pieces input(bytes, piece);
  TarReader reader(input, limits);
  std::vector<Read> all;
  TarEntry entry;
  while (reader.next(entry)) {
    std::string content;
    for (auto part = reader.data(); !part.empty(); part = reader.data())
      content.append(reinterpret_cast<const char*>(part.data()), part.size());
    all.push_back({entry, content});
  }
  return all;
}

TEST(TarReader, GivesTheSameForPiecesOfAnySize) {
  const std::string bytes = file("one", std::string(5000, 'x')) + file("two", "") + file("three", "33") + kEnd;
  for (size_t piece : {1UL, 7UL, 511UL, 512UL, 513UL, 4096UL, 1UL << 20}) {
    std::vector<Read> all = read_all(bytes, piece);
    ASSERT_EQ(all.size(), 3U) << piece;
    EXPECT_EQ(all[0].entry.path, "one");
    EXPECT_EQ(all[0].content, std::string(5000, 'x'));
    EXPECT_EQ(all[0].entry.uid, 1000U);
    EXPECT_EQ(all[0].entry.gid, 100U);
    EXPECT_EQ(all[0].entry.mode, 0644U);
    EXPECT_EQ(all[0].entry.mtime, 1600000000);
    EXPECT_EQ(all[2].content, "33");
  }
}

TEST(TarReader, SkipsContentThatNobodyReads) {
  Pieces input(file("one", std::string(5000, 'x')) + file("two", "2") + kEnd, 100);
  TarReader reader(input);
  TarEntry entry;
  ASSERT_TRUE(reader.next(entry));
  ASSERT_TRUE(reader.next(entry));
  EXPECT_EQ(entry.path, "two");
  EXPECT_FALSE(reader.next(entry));
  EXPECT_FALSE(reader.next(entry));
}

TEST(TarReader, EndsWithoutAMarkAtAnEntryAndNowhereElse) {
  const std::string bytes = file("one", "1") + file("two", std::string(600, '2'));
  EXPECT_EQ(read_all(bytes).size(), 2U);
  for (size_t length = 1; length < bytes.size(); length++) {
    if (length == 1024) continue;
    EXPECT_THROW(read_all(bytes.substr(0, length)), InvalidInput) << length;
  }
}

TEST(TarReader, JoinsPrefixAndName) {
  std::string block = header({"name", '0', 0, {}});
  set(block, 345, "a/prefix");
  seal(block);
  EXPECT_EQ(read_all(block + kEnd).at(0).entry.path, "a/prefix/name");
  // GNU's magic: times are there, not a prefix.
  set(block, 257, "ustar  ");
  seal(block);
  EXPECT_EQ(read_all(block + kEnd).at(0).entry.path, "name");
}

TEST(TarReader, TakesPaxOverGnuOverHeader) {
  const std::string name(300, 'n');
  const std::string link(300, 'l');
  const std::string gnu = header({"././@LongLink", 'L', name.size() + 1, {}}) + padded(name + '\0') +
                          header({"././@LongLink", 'K', link.size() + 1, {}}) + padded(link + '\0') +
                          header({"short", '2', 0, "short"});
  Read read = read_all(gnu + kEnd).at(0);
  EXPECT_EQ(read.entry.path, name);
  EXPECT_EQ(read.entry.link, link);
  read = read_all(pax("12 path=abc\n13 path=abcd\n") + file("x", "") + kEnd).at(0);
  EXPECT_EQ(read.entry.path, "abcd");
}

TEST(TarReader, AppliesPaxToOneEntryOnly) {
  std::vector<Read> all = read_all(pax("12 path=abc\n") + file("x", "") + file("y", "") + kEnd);
  EXPECT_EQ(all.at(0).entry.path, "abc");
  EXPECT_EQ(all.at(1).entry.path, "y");
}

TEST(TarReader, ReadsTimesBeforeTheEpochAndFractions) {
  auto time_of = [](const std::string& value) {
    std::string record = " mtime=" + value + "\n";
    record = std::to_string(record.size() + 2) + record;
    TarEntry entry = read_all(pax(record) + file("x", "") + kEnd).at(0).entry;
    return std::pair(entry.mtime, entry.mtime_ns);
  };
  EXPECT_EQ(time_of("12.5"), std::pair(int64_t{12}, 500000000U));
  EXPECT_EQ(time_of("-1.25"), std::pair(int64_t{-2}, 750000000U));
  EXPECT_EQ(time_of("0.1234567899"), std::pair(int64_t{0}, 123456789U));
}

TEST(TarReader, ReadsBinaryNumbers) {
  std::string block = header({"x", '0', 0, {}});
  set(block, 108, std::string("\x80\0\0\0\xb2\xd0\x5e\0", 8));
  set(block, 136, std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12));
  seal(block);
  TarEntry entry = read_all(block + kEnd).at(0).entry;
  EXPECT_EQ(entry.uid, 3000000000U);
  EXPECT_EQ(entry.mtime, -2);
}

TEST(TarReader, HeedsItsLimits) {
  ArchiveLimits limits;
  limits.entries = 2;
  EXPECT_THROW(read_all(file("a", "") + file("b", "") + file("c", "") + kEnd, 512, limits), InvalidInput);
  limits = {};
  limits.bytes = 10;
  EXPECT_THROW(read_all(file("a", "more than ten bytes") + kEnd, 512, limits), InvalidInput);
}

TEST(TarReader, NamesTheEntryInPrintableForm) {
  std::string block = header({"bad\n\x01name", '0', 0, {}});
  block[156] = 'Z';
  seal(block);
  try {
    read_all(block + kEnd);
    FAIL() << "accepted";
  } catch (const InvalidInput& error) {
    EXPECT_NE(std::string(error.what()).find("\"bad\\x0a\\x01name\""), std::string::npos) << error.what();
  }
}

TEST(TarReader, SurvivesChangedBytes) {
  const std::string sparse = pax("22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n28 GNU.sparse.realsize=1000\n") +
                             header({"s", '0', 512 + 5, {}}) + padded("1\n10\n5\n") + padded("holes");
  const std::string seed = file("one", "1") + pax("12 path=abc\n30 SCHILY.xattr.user.name=abc\n") + file("x", "22") +
                           sparse + header({"l", '2', 0, "target"}) + kEnd;
  ASSERT_EQ(read_all(seed).size(), 4U);
  std::mt19937 random(20261121);
  int accepted = 0;
  for (int round = 0; round < 20000; round++) {
    std::string bytes = seed;
    for (int change = 0; change < 3; change++) bytes[random() % bytes.size()] = static_cast<char>(random());
    // A right checksum half of the time, or nothing behind the first header would ever be reached.
    if (round % 2 == 0) {
      for (size_t at = 0; at + 512 <= bytes.size(); at += 512) {
        if (memcmp(bytes.data() + at + 257, "ustar", 5) != 0) continue;
        std::string block = bytes.substr(at, 512);
        seal(block);
        bytes.replace(at, 512, block);
      }
    }
    try {
      read_all(bytes, 1 + random() % 2000);
      accepted++;
    } catch (const InvalidInput&) {
    }
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace gantry
