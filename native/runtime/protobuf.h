#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::runtime {

/// The wire format of Protocol Buffers as far as criu's messages use it: numbers, texts, and messages within messages.
class ProtobufWriter {
 public:
  /// A number, truth value or enumerator. Negative ones take ten bytes, as the format has it.
  ProtobufWriter& number(unsigned field, std::int64_t value);
  ProtobufWriter& text(unsigned field, std::string_view value);
  ProtobufWriter& message(unsigned field, const ProtobufWriter& inner) { return text(field, inner.bytes_); }

  const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value);
  std::string bytes_;
};

/// One field of a message: its value where it is a number, its bytes where it is a text or a message.
struct ProtobufField {
  unsigned number = 0;
  std::uint64_t value = 0;
  std::string_view bytes;
};

/// Reads a message field by field, in the order of the wire. Valid as long as the bytes.
class ProtobufReader {
 public:
  explicit ProtobufReader(std::string_view bytes) : rest_(bytes) {}
  /// False at the end. Throws InvalidInput for what is not such a message.
  bool next(ProtobufField& field);

 private:
  std::uint64_t varint();
  std::string_view take(std::uint64_t size);
  std::string_view rest_;
};

}  // namespace gantry::runtime
