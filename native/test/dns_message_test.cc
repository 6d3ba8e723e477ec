#include <gtest/gtest.h>

#include <random>

#include "message.h"

using namespace gantry::dns;

namespace {

Bytes query(const std::string& name, uint16_t type, bool edns = false, uint16_t size = 4096) {
  Bytes bytes{0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, static_cast<uint8_t>(edns ? 1 : 0)};
  for (size_t at = 0; at < name.size();) {
    size_t end = std::min(name.find('.', at), name.size());
    bytes.push_back(static_cast<uint8_t>(end - at));
    bytes.insert(bytes.end(), name.begin() + static_cast<ptrdiff_t>(at), name.begin() + static_cast<ptrdiff_t>(end));
    at = end + 1;
  }
  for (uint8_t byte : {0, type >> 8, type & 0xff, 0, 1}) bytes.push_back(byte);
  if (edns)
    for (uint8_t byte : {0, 0, 41, size >> 8, size & 0xff, 0, 0, 0, 0, 0, 0}) bytes.push_back(byte);
  return bytes;
}

Address v4(uint8_t last) { return {.v6 = false, .bytes = {10, 0, 0, last}}; }

}  // namespace

TEST(DnsMessage, ReadsAQuestion) {
  Query read;
  ASSERT_EQ(read_query(query("Web.Red", kAaaa), read).kind, Reading::Kind::ok);
  EXPECT_EQ(read.name, "web.red");
  EXPECT_EQ(read.type, kAaaa);
  EXPECT_EQ(read.limit, kPlainSize);
  EXPECT_FALSE(read.edns);
}

TEST(DnsMessage, TakesTheSizeOfEdnsWithinBounds) {
  Query large;
  ASSERT_EQ(read_query(query("web", kA, true, 9000), large).kind, Reading::Kind::ok);
  EXPECT_EQ(large.limit, kEdnsSize);
  Query small;
  ASSERT_EQ(read_query(query("web", kA, true, 1), small).kind, Reading::Kind::ok);
  EXPECT_EQ(small.limit, kPlainSize);
}

TEST(DnsMessage, RefusesPointersInAQuestion) {
  // A name that points to itself would never end.
  Bytes loop = query("web", kA);
  loop[12] = 0xc0;
  loop[13] = 12;
  Query read;
  Reading reading = read_query(loop, read);
  EXPECT_EQ(reading.kind, Reading::Kind::fail);
  EXPECT_EQ(reading.rcode, kFormatError);
}

TEST(DnsMessage, DoesNotTakeADotInALabelForTwo) {
  Bytes odd = query("a-b", kA);
  odd[14] = '.';
  Query read;
  EXPECT_EQ(read_query(odd, read).rcode, kRefused);
}

TEST(DnsMessage, IsSilentToAnswersAndRefusesOtherOperations) {
  Bytes response = query("web", kA);
  response[2] |= 0x80;
  Query read;
  EXPECT_EQ(read_query(response, read).kind, Reading::Kind::drop);
  EXPECT_EQ(read_query(View(response).first(5), read).kind, Reading::Kind::drop);
  Bytes status = query("web", kA);
  status[2] = 0x10;
  EXPECT_EQ(read_query(status, read).rcode, kNotImplemented);
  Bytes chaos = query("web", kA);
  chaos.back() = 3;
  Query other;
  EXPECT_EQ(read_query(chaos, other).rcode, kRefused);
}

TEST(DnsMessage, CutsWhatDoesNotFitAndSaysSo) {
  std::vector<Address> many;
  for (uint8_t i = 0; i < 50; i++) many.push_back(v4(i));
  Bytes message = query("many", kA, true);
  Query read;
  read_query(message, read);
  Bytes cut = answer_addresses(message, read, many, kPlainSize);
  EXPECT_LE(cut.size(), kPlainSize);
  EXPECT_NE(cut[2] & 0x02, 0);
  EXPECT_EQ(cut[7], 0);
  Bytes whole = answer_addresses(message, read, many, read.limit);
  EXPECT_EQ(whole[2] & 0x02, 0);
  EXPECT_EQ(whole[7], 50);
  EXPECT_EQ(whole[11], 1);
}

TEST(DnsMessage, ReadsReverseNames) {
  Address address;
  ASSERT_TRUE(reversed_address("4.3.2.1.in-addr.arpa", address));
  EXPECT_EQ(address, (Address{.v6 = false, .bytes = {1, 2, 3, 4}}));
  std::string nibbles = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
  ASSERT_TRUE(reversed_address(nibbles, address));
  EXPECT_TRUE(address.v6);
  EXPECT_EQ(address.bytes[0], 0xfd);
  EXPECT_EQ(address.bytes[15], 1);
  for (const char* wrong : {"in-addr.arpa", "3.2.1.in-addr.arpa", "256.3.2.1.in-addr.arpa", "4..2.1.in-addr.arpa",
                            "5.4.3.2.1.in-addr.arpa", "x.ip6.arpa", "4.3.2.1.example"})
    EXPECT_FALSE(reversed_address(wrong, address)) << wrong;
}

TEST(DnsMessage, KnowsTheAnswerToItsQuestion) {
  Bytes asked = query("Web", kA);
  Bytes answer = query("wEB", kA);
  EXPECT_FALSE(answers(asked, answer));
  answer[2] |= 0x80;
  EXPECT_TRUE(answers(asked, answer));
  answer[1] ^= 1;
  EXPECT_FALSE(answers(asked, answer));
  Bytes other = query("wex", kA);
  other[2] |= 0x80;
  EXPECT_FALSE(answers(asked, other));
  EXPECT_FALSE(answers(asked, View(answer).first(11)));
}

/// Whatever the bytes: no read beyond them (the sanitizers see that), and an answer has the number of its question.
TEST(DnsMessage, SurvivesAnyBytes) {
  std::mt19937 random(4711);
  const std::vector<Bytes> seeds{
      query("web.red", kA), query("web", kAaaa, true),
      query("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", kPtr)};
  const std::vector<Address> addresses{v4(1), v4(2)};
  for (int round = 0; round < 200'000; round++) {
    Bytes message = seeds[random() % seeds.size()];
    for (unsigned change = random() % 6; change > 0; change--)
      message[random() % message.size()] = static_cast<uint8_t>(random());
    if (random() % 4 == 0) message.resize(random() % (message.size() + 1));
    if (random() % 8 == 0) message.insert(message.end(), random() % 64, static_cast<uint8_t>(random()));
    Bytes exact(message.begin(), message.end());
    exact.shrink_to_fit();
    Query read;
    Reading reading = read_query(exact, read);
    Address address;
    Bytes answer;
    if (reading.kind == Reading::Kind::ok) {
      reversed_address(read.name, address);
      answer = answer_addresses(exact, read, addresses, read.limit);
      EXPECT_EQ(answer_code(exact, read, kNoError)[0], exact[0]);
      EXPECT_EQ(answer_name(exact, read, "owner.net", read.limit)[1], exact[1]);
    } else if (reading.kind == Reading::Kind::fail) {
      answer = failure(exact, reading.rcode);
    } else {
      continue;
    }
    ASSERT_GE(answer.size(), kHeaderSize);
    EXPECT_EQ(get_id(answer), get_id(exact));
    EXPECT_NE(answer[2] & 0x80, 0);
    answers(exact, answer);
  }
}
