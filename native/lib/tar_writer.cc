#include "gantry/tar_writer.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "gantry/blob.h"

namespace gantry {
namespace {

constexpr size_t kBufferSize = 256 * 1024;
constexpr size_t kBlock = 512;
constexpr uint64_t kMaxOctal7 = 07777777;
constexpr uint64_t kMaxOctal11 = 077777777777;

struct Header {
  char name[100];
  char mode[8];
  char uid[8];
  char gid[8];
  char size[12];
  char mtime[12];
  char checksum[8];
  char type;
  char link[100];
  char magic[6];
  char version[2];
  char user[32];
  char group[32];
  char major[8];
  char minor[8];
  char prefix[155];
  char rest[12];
};
static_assert(sizeof(Header) == kBlock);

/// Digits and a NUL; the caller has checked that it fits.
template <size_t N>
void octal(char (&field)[N], uint64_t value) {
  for (size_t i = N - 1; i-- > 0; value >>= 3) field[i] = static_cast<char>('0' + (value & 7));
}

template <size_t N>
void text(char (&field)[N], const std::string& value) {
  memcpy(field, value.data(), std::min(N, value.size()));
}

/// A name of up to 100 bytes, with up to 155 more before a slash; false when it does not fit.
bool split_name(const std::string& path, std::string& name, std::string& prefix) {
  if (path.size() <= 100) {
    name = path;
    prefix.clear();
    return true;
  }
  for (size_t slash = path.find('/'); slash != std::string::npos && slash <= 155; slash = path.find('/', slash + 1)) {
    const size_t rest = path.size() - slash - 1;
    if (slash == 0 || rest == 0 || rest > 100) continue;
    prefix = path.substr(0, slash);
    name = path.substr(slash + 1);
    return true;
  }
  return false;
}

char type_of(EntryType type) {
  switch (type) {
    case EntryType::file:
      return '0';
    case EntryType::hard_link:
      return '1';
    case EntryType::symlink:
      return '2';
    case EntryType::char_device:
      return '3';
    case EntryType::block_device:
      return '4';
    case EntryType::directory:
      return '5';
    case EntryType::fifo:
      return '6';
  }
  throw std::logic_error("archive entry of no kind");
}

/// "LENGTH KEY=VALUE\n", where the length counts its own digits.
std::string record(const std::string& key, const std::string& value) {
  const size_t fixed = key.size() + value.size() + 3;
  size_t length = fixed;
  while (fixed + std::to_string(length).size() != length) length = fixed + std::to_string(length).size();
  return std::to_string(length) + " " + key + "=" + value + "\n";
}

/// Seconds with as many digits behind the point as a nanosecond has, or none.
std::string time_text(int64_t seconds, uint32_t nanoseconds) {
  if (nanoseconds == 0) return std::to_string(seconds);
  const bool negative = seconds < 0;
  // -1.25 is two seconds before the epoch and three quarters on.
  const uint64_t whole = negative ? static_cast<uint64_t>(-(seconds + 1)) : static_cast<uint64_t>(seconds);
  const std::string part = std::to_string(negative ? 1'000'000'000 - nanoseconds : nanoseconds);
  return (negative ? "-" : "") + std::to_string(whole) + "." + std::string(9 - part.size(), '0') + part;
}

/// The head of a sparse file's bytes: how many runs, then offset and length of each, one number in a line.
std::string sparse_map(const TarEntry& entry) {
  // GNU tar takes the end of the last run for the end of the file.
  const bool ends_in_hole = entry.runs.empty() || entry.runs.back().offset + entry.runs.back().length < entry.size;
  std::string text = std::to_string(entry.runs.size() + (ends_in_hole ? 1 : 0)) + "\n";
  for (const SparseRun& run : entry.runs) text += std::to_string(run.offset) + "\n" + std::to_string(run.length) + "\n";
  if (ends_in_hole) text += std::to_string(entry.size) + "\n0\n";
  text.resize((text.size() + kBlock - 1) / kBlock * kBlock);
  return text;
}

/// Where a sparse file's bytes lie for a reader that does not know the format.
std::string sparse_name(const std::string& path) {
  const size_t slash = path.rfind('/');
  const size_t base = slash == std::string::npos ? 0 : slash + 1;
  return path.substr(0, base) + "GNUSparseFile.0/" + path.substr(base);
}

}  // namespace

TarWriter::TarWriter(int fd) : fd_(fd), buffer_(new uint8_t[kBufferSize]) {}

void TarWriter::put(const void* bytes, size_t size) {
  const auto* from = static_cast<const uint8_t*>(bytes);
  size_ += size;
  while (size > 0) {
    const size_t count = std::min(size, kBufferSize - used_);
    memcpy(buffer_.get() + used_, from, count);
    used_ += count;
    from += count;
    size -= count;
    if (used_ == kBufferSize) flush();
  }
}

void TarWriter::flush() {
  hash_.update(buffer_.get(), used_);
  write_all(fd_, buffer_.get(), used_);
  used_ = 0;
}

void TarWriter::pad() {
  static const uint8_t zeros[kBlock] = {};
  put(zeros, (kBlock - size_ % kBlock) % kBlock);
}

void TarWriter::header(const TarEntry& entry, const std::string& name, const std::string& prefix, char type,
                       uint64_t size) {
  Header block;
  memset(&block, 0, sizeof block);
  text(block.name, name);
  octal(block.mode, entry.mode & 07777);
  octal(block.uid, entry.uid <= kMaxOctal7 ? entry.uid : 0);
  octal(block.gid, entry.gid <= kMaxOctal7 ? entry.gid : 0);
  octal(block.size, size <= kMaxOctal11 ? size : 0);
  const bool plain_time = entry.mtime >= 0 && static_cast<uint64_t>(entry.mtime) <= kMaxOctal11;
  octal(block.mtime, plain_time ? static_cast<uint64_t>(entry.mtime) : 0);
  block.type = type;
  text(block.link, entry.link);
  memcpy(block.magic, "ustar", 6);
  memcpy(block.version, "00", 2);
  octal(block.major, entry.device_major);
  octal(block.minor, entry.device_minor);
  text(block.prefix, prefix);
  memset(block.checksum, ' ', sizeof block.checksum);
  unsigned sum = 0;
  const auto* bytes = reinterpret_cast<const uint8_t*>(&block);
  for (size_t i = 0; i < kBlock; i++) sum += bytes[i];
  // Six digits, a NUL and a blank, as every tar has it.
  char digits[7] = {};
  octal(digits, sum);
  memcpy(block.checksum, digits, sizeof digits);
  put(&block, sizeof block);
}

void TarWriter::extended(const std::string& path, const std::map<std::string, std::string>& records) {
  std::string body;
  for (const auto& [key, value] : records) body += record(key, value);
  TarEntry entry;
  entry.mode = 0644;
  std::string base = path;
  while (base.ends_with('/')) base.pop_back();
  base = base.substr(base.rfind('/') == std::string::npos ? 0 : base.rfind('/') + 1);
  header(entry, ("PaxHeaders.0/" + base).substr(0, 100), "", 'x', body.size());
  put(body.data(), body.size());
  pad();
}

void TarWriter::begin(const TarEntry& entry) {
  std::string path = entry.path;
  if (entry.type == EntryType::directory && !path.ends_with('/')) path += '/';
  std::map<std::string, std::string> records;
  std::string map;
  uint64_t size = entry.type == EntryType::file ? entry.size : 0;
  if (entry.sparse) {
    records["GNU.sparse.major"] = "1";
    records["GNU.sparse.minor"] = "0";
    records["GNU.sparse.name"] = path;
    records["GNU.sparse.realsize"] = std::to_string(size);
    path = sparse_name(path);
    map = sparse_map(entry);
    size = map.size();
    for (const SparseRun& run : entry.runs) size += run.length;
  }
  std::string name, prefix;
  if (!split_name(path, name, prefix)) {
    records["path"] = path;
    name = path.substr(0, 100);
  }
  if (entry.link.size() > 100) records["linkpath"] = entry.link;
  if (entry.uid > kMaxOctal7) records["uid"] = std::to_string(entry.uid);
  if (entry.gid > kMaxOctal7) records["gid"] = std::to_string(entry.gid);
  if (size > kMaxOctal11) records["size"] = std::to_string(size);
  if (entry.mtime < 0 || static_cast<uint64_t>(entry.mtime) > kMaxOctal11 || entry.mtime_ns != 0)
    records["mtime"] = time_text(entry.mtime, entry.mtime_ns);
  for (const auto& [key, value] : entry.xattrs) records["SCHILY.xattr." + key] = value;
  if (!records.empty()) extended(path, records);
  header(entry, name, prefix, type_of(entry.type), size);
  put(map.data(), map.size());
  left_ = size - map.size();
}

void TarWriter::data(const void* bytes, size_t size) {
  if (size > left_) throw std::logic_error("more bytes than the archive entry has");
  left_ -= size;
  put(bytes, size);
}

void TarWriter::end_entry() {
  if (left_ != 0) throw std::logic_error("fewer bytes than the archive entry has");
  pad();
}

Digested TarWriter::finish() {
  static const uint8_t zeros[2 * kBlock] = {};
  put(zeros, sizeof zeros);
  flush();
  return {hash_.finish(), size_};
}

}  // namespace gantry
