#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gantry::dns {

using Bytes = std::vector<uint8_t>;
using View = std::span<const uint8_t>;

/// An address as DNS carries it: 4 bytes of A, or 16 of AAAA.
struct Address {
  bool v6 = false;
  std::array<uint8_t, 16> bytes{};
  size_t size() const noexcept { return v6 ? 16 : 4; }
  bool operator==(const Address&) const = default;
  auto operator<=>(const Address&) const = default;
};

enum Type : uint16_t { kA = 1, kPtr = 12, kAaaa = 28, kOpt = 41, kAny = 255 };
enum Rcode : uint8_t {
  kNoError = 0,
  kFormatError = 1,
  kServerFailure = 2,
  kNoSuchName = 3,
  kNotImplemented = 4,
  kRefused = 5
};
/// The upper bits of an extended code, which stand in the EDNS record.
constexpr uint8_t kBadVersion = 1;

constexpr size_t kHeaderSize = 12;
/// What a client without EDNS takes by UDP.
constexpr size_t kPlainSize = 512;
/// What we say that we take by UDP, and the most that we send: larger answers fragment on the wire.
constexpr size_t kEdnsSize = 1232;

struct Query {
  uint16_t id = 0;
  bool recursion = false;
  /// Lower case, without the dot at the end; '' for the root.
  std::string name;
  uint16_t type = 0;
  uint16_t question_class = 0;
  /// Where the question ends in the message.
  size_t end = 0;
  bool edns = false;
  uint8_t edns_version = 0;
  /// Most bytes of an answer by UDP.
  size_t limit = kPlainSize;
};

/// What to do with a message: `drop` answers nothing (it is no query), `fail` answers with `rcode`.
struct Reading {
  enum class Kind { ok, fail, drop } kind = Kind::drop;
  Rcode rcode = kNoError;
};

/// Reads a query. A question's name is plain labels: a compression pointer there is a format error, so none is
/// followed.
Reading read_query(View message, Query& query);

/// Where the one question of a message ends, 0 when there is not exactly one whole question.
size_t question_end(View message);

/// An answer with nothing but its code; works on messages that cannot be read, of at least a header.
Bytes failure(View message, Rcode rcode);

/// An answer with addresses or one name under the question of `message`; without its records and with the mark of
/// truncation when it is larger than `limit`.
Bytes answer_addresses(View message, const Query& query, std::span<const Address> addresses, size_t limit);
Bytes answer_name(View message, const Query& query, const std::string& name, size_t limit);
Bytes answer_code(View message, const Query& query, Rcode rcode, uint8_t extended = 0);

/// The address in `4.3.2.1.in-addr.arpa` or in 32 nibbles under `ip6.arpa`; false when it is neither.
bool reversed_address(const std::string& name, Address& address);

/// Whether `answer` carries the number and the question of `query`.
bool answers(View query, View answer);

/// Whether the resolver has given up on the question, so that another one should be asked.
bool failed(View answer);

void set_id(Bytes& message, uint16_t id);
uint16_t get_id(View message);

}  // namespace gantry::dns
