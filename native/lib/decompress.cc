#include <bzlib.h>
#include <isa-l/igzip_lib.h>
#include <lzma.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "gantry/byte_source.h"
#include "gantry/error.h"

namespace gantry {
namespace {

constexpr size_t kInputSize = 256 * 1024;
constexpr int kMaxZstdWindowLog = 27;
/// Twice the dictionary of `xz -9`; what asks for more is made to hurt.
constexpr uint64_t kMaxXzMemory = uint64_t{128} << 20;

/// The bytes that were looked at, then the rest.
class Replayed : public ByteSource {
 public:
  Replayed(std::vector<uint8_t> head, ByteSource& rest) : head_(std::move(head)), rest_(rest) {}
  size_t read(uint8_t* to, size_t capacity) override {
    if (at_ == head_.size()) return rest_.read(to, capacity);
    size_t count = std::min(capacity, head_.size() - at_);
    memcpy(to, head_.data() + at_, count);
    at_ += count;
    return count;
  }

 private:
  std::vector<uint8_t> head_;
  size_t at_ = 0;
  ByteSource& rest_;
};

class GzipSource : public ByteSource {
 public:
  explicit GzipSource(std::unique_ptr<ByteSource> source)
      : source_(std::move(source)), state_(std::make_unique<inflate_state>()), input_(kInputSize) {
    start_member();
  }

  size_t read(uint8_t* to, size_t capacity) override {
    state_->next_out = to;
    state_->avail_out = static_cast<uint32_t>(std::min<size_t>(capacity, UINT32_MAX));
    const uint32_t wanted = state_->avail_out;
    while (state_->avail_out == wanted) {
      if (state_->block_state == ISAL_BLOCK_FINISH) {
        // Members follow each other with nothing between.
        if (state_->avail_in == 0 && !refill()) return 0;
        uint8_t* next = state_->next_in;
        uint32_t left = state_->avail_in;
        uint8_t* out = state_->next_out;
        isal_inflate_reset(state_.get());
        start_member();
        state_->next_in = next;
        state_->avail_in = left;
        state_->next_out = out;
        state_->avail_out = wanted;
      }
      if (state_->avail_in == 0 && !ended_ && !refill()) ended_ = true;
      const uint32_t before = state_->avail_in;
      int result = isal_inflate(state_.get());
      if (result < 0) throw InvalidInput("damaged gzip data (igzip error " + std::to_string(result) + ")");
      if (state_->block_state == ISAL_BLOCK_FINISH) continue;
      if (ended_ && state_->avail_out == wanted && state_->avail_in == before)
        throw InvalidInput("gzip data ends too early");
    }
    return wanted - state_->avail_out;
  }

 private:
  void start_member() {
    if (first_) {
      isal_inflate_init(state_.get());
      first_ = false;
    }
    state_->crc_flag = ISAL_GZIP;
  }
  bool refill() {
    size_t count = source_->read(input_.data(), input_.size());
    state_->next_in = input_.data();
    state_->avail_in = static_cast<uint32_t>(count);
    return count > 0;
  }

  std::unique_ptr<ByteSource> source_;
  std::unique_ptr<inflate_state> state_;
  std::vector<uint8_t> input_;
  bool first_ = true;
  bool ended_ = false;
};

class ZstdSource : public ByteSource {
 public:
  explicit ZstdSource(std::unique_ptr<ByteSource> source)
      : source_(std::move(source)), stream_(ZSTD_createDStream()), input_(kInputSize) {
    if (!stream_) throw std::bad_alloc();
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, kMaxZstdWindowLog);
  }

  size_t read(uint8_t* to, size_t capacity) override {
    ZSTD_outBuffer out = {to, capacity, 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size && !ended_) {
        size_t count = source_->read(input_.data(), input_.size());
        in_ = {input_.data(), count, 0};
        if (count == 0) ended_ = true;
      }
      if (ended_ && in_.pos == in_.size && between_frames_) return 0;
      const size_t before = in_.pos;
      size_t result = ZSTD_decompressStream(stream_.get(), &out, &in_);
      if (ZSTD_isError(result)) throw InvalidInput(std::string("damaged zstd data: ") + ZSTD_getErrorName(result));
      between_frames_ = result == 0;
      if (ended_ && out.pos == 0 && in_.pos == before && !between_frames_)
        throw InvalidInput("zstd data ends too early");
    }
    return out.pos;
  }

 private:
  struct Free {
    void operator()(ZSTD_DStream* stream) const noexcept { ZSTD_freeDStream(stream); }
  };
  std::unique_ptr<ByteSource> source_;
  std::unique_ptr<ZSTD_DStream, Free> stream_;
  std::vector<uint8_t> input_;
  ZSTD_inBuffer in_ = {nullptr, 0, 0};
  bool between_frames_ = true;
  bool ended_ = false;
};

class Bzip2Source : public ByteSource {
 public:
  explicit Bzip2Source(std::unique_ptr<ByteSource> source) : source_(std::move(source)), input_(kInputSize) { start(); }
  ~Bzip2Source() override { BZ2_bzDecompressEnd(&state_); }
  Bzip2Source(const Bzip2Source&) = delete;
  Bzip2Source& operator=(const Bzip2Source&) = delete;

  size_t read(uint8_t* to, size_t capacity) override {
    state_.next_out = reinterpret_cast<char*>(to);
    state_.avail_out = static_cast<unsigned>(std::min<size_t>(capacity, UINT32_MAX));
    const unsigned wanted = state_.avail_out;
    while (state_.avail_out == wanted) {
      if (state_.avail_in == 0 && !ended_) {
        state_.next_in = reinterpret_cast<char*>(input_.data());
        state_.avail_in = static_cast<unsigned>(source_->read(input_.data(), input_.size()));
        ended_ = state_.avail_in == 0;
      }
      if (ended_ && state_.avail_in == 0) {
        if (between_streams_) return 0;
        throw InvalidInput("bzip2 data ends too early");
      }
      // Streams follow each other with nothing between.
      if (between_streams_) restart();
      const int result = BZ2_bzDecompress(&state_);
      if (result != BZ_OK && result != BZ_STREAM_END)
        throw InvalidInput("damaged bzip2 data (error " + std::to_string(result) + ")");
      between_streams_ = result == BZ_STREAM_END;
    }
    return wanted - state_.avail_out;
  }

 private:
  void start() {
    if (BZ2_bzDecompressInit(&state_, 0, 0) != BZ_OK) throw std::bad_alloc();
  }
  void restart() {
    const bz_stream before = state_;
    BZ2_bzDecompressEnd(&state_);
    state_ = {};
    start();
    state_.next_in = before.next_in;
    state_.avail_in = before.avail_in;
    state_.next_out = before.next_out;
    state_.avail_out = before.avail_out;
    between_streams_ = false;
  }

  std::unique_ptr<ByteSource> source_;
  std::vector<uint8_t> input_;
  bz_stream state_ = {};
  bool between_streams_ = false;
  bool ended_ = false;
};

class XzSource : public ByteSource {
 public:
  explicit XzSource(std::unique_ptr<ByteSource> source) : source_(std::move(source)), input_(kInputSize) {
    if (lzma_stream_decoder(&state_, kMaxXzMemory, LZMA_CONCATENATED) != LZMA_OK) throw std::bad_alloc();
  }
  ~XzSource() override { lzma_end(&state_); }
  XzSource(const XzSource&) = delete;
  XzSource& operator=(const XzSource&) = delete;

  size_t read(uint8_t* to, size_t capacity) override {
    state_.next_out = to;
    state_.avail_out = capacity;
    while (state_.avail_out == capacity && !done_) {
      if (state_.avail_in == 0 && !ended_) {
        state_.next_in = input_.data();
        state_.avail_in = source_->read(input_.data(), input_.size());
        ended_ = state_.avail_in == 0;
      }
      const lzma_ret result = lzma_code(&state_, ended_ ? LZMA_FINISH : LZMA_RUN);
      if (result == LZMA_STREAM_END)
        done_ = true;
      else if (result == LZMA_BUF_ERROR)
        throw InvalidInput("xz data ends too early");
      else if (result == LZMA_MEMLIMIT_ERROR)
        throw InvalidInput("xz data needs more than " + std::to_string(kMaxXzMemory >> 20) + " MiB of memory");
      else if (result != LZMA_OK)
        throw InvalidInput("damaged xz data (error " + std::to_string(result) + ")");
    }
    return capacity - state_.avail_out;
  }

 private:
  std::unique_ptr<ByteSource> source_;
  std::vector<uint8_t> input_;
  lzma_stream state_ = LZMA_STREAM_INIT;
  bool ended_ = false;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> decompressed(ByteSource& source) {
  std::vector<uint8_t> head(6);
  size_t have = 0;
  while (have < head.size()) {
    size_t count = source.read(head.data() + have, head.size() - have);
    if (count == 0) break;
    have += count;
  }
  head.resize(have);
  auto starts = [&](std::initializer_list<int> magic) {
    if (head.size() < magic.size()) return false;
    size_t i = 0;
    for (int byte : magic) {
      if (byte >= 0 && head[i] != byte) return false;
      i++;
    }
    return true;
  };
  const bool gzip = starts({0x1f, 0x8b});
  const bool skippable =
      head.size() >= 4 && (head[0] & 0xf0) == 0x50 && head[1] == 0x2a && head[2] == 0x4d && head[3] == 0x18;
  const bool zstd = starts({0x28, 0xb5, 0x2f, 0xfd}) || skippable;
  const bool bzip2 = starts({'B', 'Z', 'h'});
  const bool xz = starts({0xfd, '7', 'z', 'X', 'Z', 0});
  auto all = std::make_unique<Replayed>(std::move(head), source);
  if (gzip) return std::make_unique<GzipSource>(std::move(all));
  if (zstd) return std::make_unique<ZstdSource>(std::move(all));
  if (bzip2) return std::make_unique<Bzip2Source>(std::move(all));
  if (xz) return std::make_unique<XzSource>(std::move(all));
  return all;
}

}  // namespace gantry
