#include <gtest/gtest.h>

#include "gantry/error.h"
#include "protobuf.h"

namespace gantry::runtime {
namespace {

using std::string_literals::operator""s;

std::vector<ProtobufField> fields_of(std::string_view bytes) {
  ProtobufReader reader(bytes);
  std::vector<ProtobufField> all;
  for (ProtobufField field; reader.next(field);) all.push_back(field);
  return all;
}

TEST(Protobuf, WritesNumbersTextsAndMessages) {
  ProtobufWriter writer;
  writer.number(1, 150).text(2, "testing").message(3, ProtobufWriter().number(1, 0));
  EXPECT_EQ(writer.bytes(), "\x08\x96\x01\x12\x07testing\x1a\x02\x08\x00"s);
}

TEST(Protobuf, WritesFieldsPastTheFirstFifteenAndNegativeNumbers) {
  EXPECT_EQ(ProtobufWriter().number(51, 1).bytes(), "\x98\x03\x01"s);
  EXPECT_EQ(ProtobufWriter().number(1, -1).bytes(), "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s);
}

TEST(Protobuf, ReadsWhatItWrites) {
  ProtobufWriter writer;
  writer.number(63, -5).text(7, "").text(8, std::string(300, 'x'));
  auto all = fields_of(writer.bytes());
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].number, 63u);
  EXPECT_EQ(static_cast<std::int64_t>(all[0].value), -5);
  EXPECT_EQ(all[1].bytes, "");
  EXPECT_EQ(all[2].bytes, std::string(300, 'x'));
}

TEST(Protobuf, SkipsNumbersOfFixedSize) {
  auto all = fields_of(
      "\x09"
      "12345678"
      "\x15"
      "1234"
      "\x18\x05"s);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[2].value, 5u);
}

TEST(Protobuf, RefusesWhatIsCutOffOrNoMessage) {
  for (const std::string& bytes :
       {"\x08"s, "\x08\x80"s, "\x12\x05test"s, "\x0b\x01"s, "\x00\x01"s,
        "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s, "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s}) {
    EXPECT_THROW(fields_of(bytes), InvalidInput) << ::testing::PrintToString(bytes);
  }
}

}  // namespace
}  // namespace gantry::runtime
