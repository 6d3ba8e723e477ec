// A layer's bytes on their way to files: decompressed, then read as an archive. Whatever they are, the outcome is
// entries within the limits or a refusal in words.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "gantry/error.h"
#include "gantry/tar_reader.h"

namespace {

using namespace gantry;

class MemorySource : public ByteSource {
 public:
  MemorySource(const std::uint8_t* data, std::size_t size, std::size_t most) : data_(data), left_(size), most_(most) {}
  std::size_t read(std::uint8_t* to, std::size_t capacity) override {
    std::size_t count = std::min({capacity, left_, most_});
    if (count > 0) std::memcpy(to, data_, count);
    data_ += count;
    left_ -= count;
    return count;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
  std::size_t most_;
};

/// In pieces of an odd size, so that headers fall across their borders.
class Pieces : public TarInput {
 public:
  Pieces(ByteSource& source, std::size_t piece) : source_(source), buffer_(piece) {}
  std::span<const std::uint8_t> next() override {
    std::size_t count = total_ < kMost ? source_.read(buffer_.data(), buffer_.size()) : 0;
    total_ += count;
    return {buffer_.data(), count};
  }

 private:
  // A bomb of the fuzzer's own making ends here, as it does at the limits of the real input.
  static constexpr std::size_t kMost = 8u << 20;
  ByteSource& source_;
  std::vector<std::uint8_t> buffer_;
  std::size_t total_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // The first byte says how the bytes arrive.
  std::size_t piece = 1 + data[0] * 17u;
  try {
    MemorySource bytes(data + 1, size - 1, piece);
    auto plain = decompressed(bytes);
    Pieces pieces(*plain, piece);
    ArchiveLimits limits;
    limits.entries = 1000;
    TarReader reader(pieces, limits);
    TarEntry entry;
    while (reader.next(entry)) {
      std::uint64_t end = 0;
      for (const SparseRun& run : entry.runs) {
        if (run.offset < end || run.offset + run.length < run.offset || run.offset + run.length > entry.size)
          __builtin_trap();
        end = run.offset + run.length;
      }
      std::uint64_t stored = 0;
      for (auto part = reader.data(); !part.empty(); part = reader.data()) stored += part.size();
      if (entry.type == EntryType::file && !entry.sparse && stored != entry.size) __builtin_trap();
    }
  } catch (const InvalidInput&) {
  }
  return 0;
}
