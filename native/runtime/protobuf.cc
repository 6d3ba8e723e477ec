#include "protobuf.h"

#include "gantry/error.h"

namespace gantry::runtime {
namespace {

enum WireType : unsigned { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

[[noreturn]] void refuse() { throw InvalidInput("not a protocol buffer message"); }

}  // namespace

void ProtobufWriter::varint(std::uint64_t value) {
  while (value >= 0x80) {
    bytes_ += static_cast<char>(0x80 | (value & 0x7f));
    value >>= 7;
  }
  bytes_ += static_cast<char>(value);
}

ProtobufWriter& ProtobufWriter::number(unsigned field, std::int64_t value) {
  varint(std::uint64_t{field} << 3 | kVarint);
  varint(static_cast<std::uint64_t>(value));
  return *this;
}

ProtobufWriter& ProtobufWriter::text(unsigned field, std::string_view value) {
  varint(std::uint64_t{field} << 3 | kBytes);
  varint(value.size());
  bytes_ += value;
  return *this;
}

std::uint64_t ProtobufReader::varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) refuse();
    auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
  refuse();
}

std::string_view ProtobufReader::take(std::uint64_t size) {
  if (size > rest_.size()) refuse();
  std::string_view taken = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return taken;
}

bool ProtobufReader::next(ProtobufField& field) {
  if (rest_.empty()) return false;
  std::uint64_t key = varint();
  field = {};
  if (key >> 3 == 0 || key >> 3 > 0x1fffffff) refuse();
  field.number = static_cast<unsigned>(key >> 3);
  switch (key & 7) {
    case kVarint:
      field.value = varint();
      return true;
    case kBytes:
      field.bytes = take(varint());
      return true;
    case kFixed64:
      field.bytes = take(8);
      return true;
    case kFixed32:
      field.bytes = take(4);
      return true;
    default:
      refuse();
  }
}

}  // namespace gantry::runtime
