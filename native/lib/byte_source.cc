#include "gantry/byte_source.h"

#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "gantry/error.h"

namespace gantry {
namespace {

constexpr size_t kInputSize = 256 * 1024;
constexpr int kMaxZstdWindowLog = 27;

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

}  // namespace

Cancel::Cancel() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!event_) throw_errno("eventfd");
}

void Cancel::request() noexcept {
  requested_.store(true, std::memory_order_release);
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(event_.get(), &one, sizeof one);
}

FdSource::FdSource(int fd, const Cancel* cancel) : fd_(fd), cancel_(cancel) {
  struct stat st;
  if (fstat(fd, &st) != 0) throw_errno("fstat");
  may_block_ = !S_ISREG(st.st_mode);
}

void FdSource::wait() {
  struct pollfd fds[2] = {{fd_, POLLIN, 0}, {cancel_ ? cancel_->fd() : -1, POLLIN, 0}};
  while (poll(fds, 2, -1) < 0) {
    if (errno != EINTR) throw_errno("poll");
  }
}

size_t FdSource::read(uint8_t* to, size_t capacity) {
  for (;;) {
    if (may_block_) wait();
    if (cancel_ && cancel_->requested()) throw SysError(ECANCELED, "read");
    ssize_t count = ::read(fd_, to, capacity);
    if (count >= 0) {
      consumed_.fetch_add(static_cast<uint64_t>(count), std::memory_order_relaxed);
      return static_cast<size_t>(count);
    }
    if (errno == EAGAIN) {
      may_block_ = true;
    } else if (errno != EINTR) {
      throw_errno("read");
    }
  }
}

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
  if (starts({'B', 'Z', 'h'})) throw InvalidInput("bzip2 compression is not supported");
  if (starts({0xfd, '7', 'z', 'X', 'Z', 0})) throw InvalidInput("xz compression is not supported");
  auto all = std::make_unique<Replayed>(std::move(head), source);
  if (gzip) return std::make_unique<GzipSource>(std::move(all));
  if (zstd) return std::make_unique<ZstdSource>(std::move(all));
  return all;
}

}  // namespace gantry
