#include "gantry/archive_input.h"

#include <string>

#include "gantry/error.h"

namespace gantry {
namespace {
// A block is a multiple of tar's 512 bytes and far larger than most files, so nearly every file is one piece.
constexpr size_t kBlockSize = 256 * 1024;
constexpr size_t kBlocks = 16;
}  // namespace

ArchiveInput::ArchiveInput(int fd, const ArchiveLimits& limits)
    : limits_(limits), raw_(fd, &cancel_), blocks_(kBlocks) {
  for (Block& block : blocks_) free_.push_back(&block);
  reader_ = std::thread([this] { read_all(); });
  try {
    hasher_ = std::thread([this] { hash_all(); });
  } catch (...) {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    cancel_.request();
    freed_.notify_all();
    reader_.join();
    throw;
  }
}

ArchiveInput::~ArchiveInput() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  cancel_.request();
  freed_.notify_all();
  filled_.notify_all();
  if (reader_.joinable()) reader_.join();
  if (hasher_.joinable()) hasher_.join();
}

void ArchiveInput::read_all() {
  try {
    std::unique_ptr<ByteSource> source = decompressed(raw_);
    uint64_t produced = 0;
    for (;;) {
      Block* block;
      {
        std::unique_lock lock(mutex_);
        freed_.wait(lock, [this] { return stop_ || !free_.empty(); });
        if (stop_) return;
        block = free_.front();
        free_.pop_front();
      }
      if (!block->data) block->data.reset(new uint8_t[kBlockSize]);
      block->size = 0;
      bool last = false;
      while (block->size < kBlockSize) {
        size_t count = source->read(block->data.get() + block->size, kBlockSize - block->size);
        if (count == 0) {
          last = true;
          break;
        }
        block->size += count;
      }
      produced += block->size;
      if (produced > limits_.bytes)
        throw InvalidInput("archive has more than " + std::to_string(limits_.bytes) + " bytes after decompression");
      if (produced > limits_.ratio_floor && produced / (raw_.consumed() + 1) > limits_.ratio)
        throw InvalidInput("archive grows more than " + std::to_string(limits_.ratio) +
                           " times when it is decompressed");
      std::lock_guard lock(mutex_);
      if (block->size > 0) {
        block->holders = 2;
        to_hash_.push_back(block);
        to_caller_.push_back(block);
      }
      ended_ = last;
      filled_.notify_all();
      if (last) return;
    }
  } catch (...) {
    std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    ended_ = true;
    filled_.notify_all();
  }
}

ArchiveInput::Block* ArchiveInput::take(std::deque<Block*>& queue) {
  std::unique_lock lock(mutex_);
  filled_.wait(lock, [&] { return stop_ || !queue.empty() || ended_; });
  if (stop_ || queue.empty()) return nullptr;
  Block* block = queue.front();
  queue.pop_front();
  return block;
}

void ArchiveInput::give_back(Block* block) {
  std::lock_guard lock(mutex_);
  if (--block->holders > 0) return;
  free_.push_back(block);
  freed_.notify_one();
}

void ArchiveInput::hash_all() {
  try {
    while (Block* block = take(to_hash_)) {
      hash_.update(block->data.get(), block->size);
      hashed_ += block->size;
      give_back(block);
    }
  } catch (...) {
    std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
    stop_ = true;
    freed_.notify_all();
    filled_.notify_all();
  }
}

std::span<const uint8_t> ArchiveInput::next() {
  if (current_) give_back(std::exchange(current_, nullptr));
  current_ = take(to_caller_);
  if (current_) return {current_->data.get(), current_->size};
  std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  return {};
}

Digested ArchiveInput::finish() {
  while (!next().empty()) {
  }
  reader_.join();
  hasher_.join();
  if (failure_) std::rethrow_exception(failure_);
  return {hash_.finish(), hashed_};
}

}  // namespace gantry
