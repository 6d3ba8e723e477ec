#include "gantry/blob.h"

#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <poll.h>
#include <unistd.h>
#include <zstd.h>

#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "gantry/archive_input.h"
#include "gantry/byte_source.h"
#include "gantry/error.h"
#include "gantry/fd.h"

namespace gantry {
namespace {

constexpr size_t kChunk = 256 * 1024;

/// Compressed bytes on their way out.
struct Sink {
  int fd;
  Sha256 hash;
  uint64_t size = 0;
  void put(const void* data, size_t count) {
    if (count == 0) return;
    write_all(fd, data, count);
    hash.update(data, count);
    size += count;
  }
};

void gzip_into(ByteSource& source, Sink& sink, Sha256& plain, uint64_t& plain_size) {
  auto state = std::make_unique<isal_zstream>();
  std::vector<uint8_t> level_buffer(ISAL_DEF_LVL1_DEFAULT);
  std::vector<uint8_t> in(kChunk), out(kChunk);
  isal_deflate_init(state.get());
  state->level = 1;
  state->level_buf = level_buffer.data();
  state->level_buf_size = static_cast<uint32_t>(level_buffer.size());
  // The header that igzip writes has no time and no name, so equal content gives equal blobs.
  state->gzip_flag = IGZIP_GZIP;
  state->flush = NO_FLUSH;
  while (state->internal_state.state != ZSTATE_END) {
    if (state->avail_in == 0 && !state->end_of_stream) {
      size_t count = source.read(in.data(), in.size());
      plain.update(in.data(), count);
      plain_size += count;
      state->next_in = in.data();
      state->avail_in = static_cast<uint32_t>(count);
      state->end_of_stream = count == 0 ? 1 : 0;
    }
    state->next_out = out.data();
    state->avail_out = static_cast<uint32_t>(out.size());
    if (int result = isal_deflate(state.get()); result != COMP_OK)
      throw std::runtime_error("igzip could not compress (error " + std::to_string(result) + ")");
    sink.put(out.data(), out.size() - state->avail_out);
  }
}

void zstd_into(ByteSource& source, Sink& sink, Sha256& plain, uint64_t& plain_size) {
  std::unique_ptr<ZSTD_CStream, size_t (*)(ZSTD_CStream*)> stream(ZSTD_createCStream(), ZSTD_freeCStream);
  if (!stream) throw std::bad_alloc();
  ZSTD_CCtx_setParameter(stream.get(), ZSTD_c_compressionLevel, 3);
  ZSTD_CCtx_setParameter(stream.get(), ZSTD_c_checksumFlag, 1);
  std::vector<uint8_t> bytes(kChunk), out(ZSTD_CStreamOutSize());
  for (bool last = false; !last;) {
    size_t count = source.read(bytes.data(), bytes.size());
    last = count == 0;
    plain.update(bytes.data(), count);
    plain_size += count;
    ZSTD_inBuffer in = {bytes.data(), count, 0};
    for (bool more = true; more;) {
      ZSTD_outBuffer into = {out.data(), out.size(), 0};
      size_t left = ZSTD_compressStream2(stream.get(), &into, &in, last ? ZSTD_e_end : ZSTD_e_continue);
      if (ZSTD_isError(left))
        throw std::runtime_error(std::string("zstd could not compress: ") + ZSTD_getErrorName(left));
      sink.put(out.data(), into.pos);
      more = last ? left != 0 : in.pos < in.size;
    }
  }
}

/// How much of a file is there, for who reads along while it is written.
class Growth {
 public:
  void advance(uint64_t size) {
    std::lock_guard lock(mutex_);
    size_ = size;
    changed_.notify_all();
  }
  void end() {
    std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  /// Waits until there is more than `seen`; gives that size, or `seen` when no more will come.
  uint64_t beyond(uint64_t seen) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || size_ > seen; });
    return size_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t size_ = 0;
  bool ended_ = false;
};

void wait_writable(int fd) {
  struct pollfd ready = {fd, POLLOUT, 0};
  if (poll(&ready, 1, -1) < 0 && errno != EINTR) throw_errno("poll");
}

/// Moves `[from, to)` of a file into a pipe without copying it.
void pour(int file, uint64_t from, uint64_t to, int pipe) {
  auto at = static_cast<off64_t>(from);
  while (static_cast<uint64_t>(at) < to) {
    ssize_t moved = splice(file, &at, pipe, nullptr, to - static_cast<uint64_t>(at), SPLICE_F_NONBLOCK);
    if (moved > 0) continue;
    // What was counted was written, so the file has it unless somebody cut it.
    if (moved == 0) throw SysError(EIO, "splice");
    if (errno == EAGAIN)
      wait_writable(pipe);
    else if (errno != EINTR)
      throw_errno("splice");
  }
}

/// Gives `tee` the file's bytes as it grows. A thread of its own: whoever reads may be slow, hang or leave, and the
/// file, which others wait for too, goes on.
void read_along(int file, const std::shared_ptr<Growth>& growth, UniqueFd tee) {
  UniqueFd own(fcntl(file, F_DUPFD_CLOEXEC, 0));
  if (!own) throw_errno("fcntl");
  widen_pipe(tee.get());
  std::thread([growth, file = std::move(own), tee = std::move(tee)] {
    try {
      uint64_t seen = 0;
      for (uint64_t size; (size = growth->beyond(seen)) > seen; seen = size) pour(file.get(), seen, size, tee.get());
    } catch (const std::exception&) {
      // The reader left, or it finds an early end: both know what to do.
    }
  }).detach();
}

}  // namespace

void widen_pipe(int fd) noexcept {
  // As far as an unprivileged process may go. Whatever else `fd` is, or the limit for one user, is no failure.
  [[maybe_unused]] int size = fcntl(fd, F_SETPIPE_SZ, 1 << 20);
}

void write_all(int fd, const void* data, size_t size) {
  const char* from = static_cast<const char*>(data);
  while (size > 0) {
    ssize_t written = ::write(fd, from, size);
    if (written >= 0) {
      from += written;
      size -= static_cast<size_t>(written);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) throw_errno("write");
    // Node makes the pipes and sockets that it owns non-blocking.
    wait_writable(fd);
  }
}

Digested ingest(int fd, const std::string& path, uint64_t limit, UniqueFd tee) {
  // Read by who reads along, too.
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) throw_errno("open", path);
  auto growth = std::make_shared<Growth>();
  try {
    widen_pipe(fd);
    if (tee) read_along(file.get(), growth, std::move(tee));
    FdSource source(fd, nullptr);
    Sha256 hash;
    uint64_t size = 0;
    std::vector<uint8_t> bytes(kChunk);
    while (size_t count = source.read(bytes.data(), bytes.size())) {
      if (count > limit - size) throw InvalidInput("more than the expected " + std::to_string(limit) + " bytes");
      write_all(file.get(), bytes.data(), count);
      size += count;
      growth->advance(size);
      // Written out while more comes in, so that the sync at the end is short.
      constexpr uint64_t kWriteback = 8 << 20;
      if (size / kWriteback != (size - count) / kWriteback)
        sync_file_range(file.get(), 0, static_cast<off64_t>(size), SYNC_FILE_RANGE_WRITE);
      hash.update(bytes.data(), count);
    }
    growth->end();
    if (fsync(file.get()) != 0) throw_errno("fsync", path);
    return {hash.finish(), size};
  } catch (...) {
    growth->end();
    unlink(path.c_str());
    throw;
  }
}

Digested hash_uncompressed(int fd) {
  ArchiveInput input(fd, ArchiveLimits());
  return input.finish();
}

void decompress(int from, int to) {
  FdSource raw(from, nullptr);
  const std::unique_ptr<ByteSource> source = decompressed(raw);
  std::vector<uint8_t> bytes(kChunk);
  while (size_t count = source->read(bytes.data(), bytes.size())) write_all(to, bytes.data(), count);
}

Compressed compress(int from, int to, Compression compression) {
  FdSource source(from, nullptr);
  Sink sink{to, Sha256()};
  Sha256 plain;
  uint64_t plain_size = 0;
  switch (compression) {
    case Compression::gzip:
      gzip_into(source, sink, plain, plain_size);
      break;
    case Compression::zstd:
      zstd_into(source, sink, plain, plain_size);
      break;
    case Compression::none: {
      std::vector<uint8_t> bytes(kChunk);
      while (size_t count = source.read(bytes.data(), bytes.size())) {
        plain.update(bytes.data(), count);
        plain_size += count;
        sink.put(bytes.data(), count);
      }
    }
  }
  return {{sink.hash.finish(), sink.size}, {plain.finish(), plain_size}};
}

}  // namespace gantry
