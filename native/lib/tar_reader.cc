#include "gantry/tar_reader.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "gantry/error.h"

namespace gantry {
namespace {

// Linux takes no longer path in one call; what an archive names longer could not be opened by anybody.
constexpr size_t kMaxPath = 4095;
// Of one PAX header or long name: room for an ACL and file capabilities, none for filling memory.
constexpr uint64_t kMaxExtended = 1 << 20;
constexpr size_t kMaxSparseRuns = 65536;
constexpr size_t kMaxXattrs = 1000;
// (uid_t)-1 means "leave as it is" to chown(2).
constexpr uint64_t kMaxId = 0xFFFFFFFE;

std::string_view field(const uint8_t* from, size_t size) {
  const char* text = reinterpret_cast<const char*>(from);
  return {text, strnlen(text, size)};
}

/// Octal text, or GNU's base-256 when the first bit is set. nullopt when it is neither or does not fit.
std::optional<int64_t> number(const uint8_t* from, size_t size) {
  if (from[0] & 0x80) {
    const bool negative = (from[0] & 0x40) != 0;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    for (size_t i = 0; i < size; i++) {
      uint8_t byte = from[i];
      if (i == 0) byte = negative ? (byte | 0x80) : (byte & 0x7f);
      if (size - i > 8) {
        if (byte != (negative ? 0xff : 0)) return std::nullopt;
        continue;
      }
      value = (value << 8) | byte;
    }
    const auto result = static_cast<int64_t>(value);
    if ((result < 0) != negative) return std::nullopt;
    return result;
  }
  std::string_view text = field(from, size);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  if (text.empty()) return 0;
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (error != std::errc() || end != text.data() + text.size() || value > INT64_MAX) return std::nullopt;
  return static_cast<int64_t>(value);
}

std::optional<uint64_t> decimal(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value > INT64_MAX)
    return std::nullopt;
  return value;
}

/// "-12.25" as whole seconds and nanoseconds from there upwards.
bool parse_time(std::string_view text, int64_t& seconds, uint32_t& nanoseconds) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  size_t dot = text.find('.');
  std::optional<uint64_t> whole = decimal(text.substr(0, dot));
  if (!whole) return false;
  uint32_t part = 0;
  if (dot != std::string_view::npos) {
    uint32_t scale = 100'000'000;
    for (char digit : text.substr(dot + 1)) {
      if (digit < '0' || digit > '9') return false;
      part += static_cast<uint32_t>(digit - '0') * scale;
      scale /= 10;
    }
  }
  seconds = static_cast<int64_t>(*whole);
  if (negative) {
    seconds = -seconds;
    if (part > 0) {
      seconds--;
      part = 1'000'000'000 - part;
    }
  }
  nanoseconds = part;
  return true;
}

}  // namespace

std::string printable(std::string_view text) {
  constexpr size_t kLongest = 200;
  static const char digits[] = "0123456789abcdef";
  std::string out = "\"";
  for (char c : text.substr(0, kLongest)) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      out += "\\x";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
  if (text.size() > kLongest) out += "…";
  return out + "\"";
}

/// What extended headers said about the entry that follows them.
struct TarReader::Extended {
  std::optional<std::string> path, link, sparse_name, sparse_map;
  std::optional<uint64_t> size, uid, gid, sparse_size;
  bool has_time = false;
  int64_t mtime = 0;
  uint32_t mtime_ns = 0;
  uint64_t sparse_major = 0;
  bool sparse = false;
  std::optional<uint64_t> sparse_offset;
  std::vector<SparseRun> runs;
  std::vector<std::pair<std::string, std::string>> xattrs;
  bool any = false;
};

void TarReader::bad(const std::string& what) const {
  if (name_.empty()) throw InvalidInput("not a valid archive: " + what + " at byte " + std::to_string(offset_));
  throw InvalidInput("not a valid archive: entry " + printable(name_) + ": " + what);
}

bool TarReader::read_block(Block& block) {
  size_t have = 0;
  while (have < sizeof block) {
    if (piece_.empty()) {
      piece_ = input_.next();
      if (piece_.empty()) {
        if (have == 0) return false;
        bad("it ends inside a header");
      }
    }
    size_t count = std::min(sizeof block - have, piece_.size());
    memcpy(block + have, piece_.data(), count);
    piece_ = piece_.subspan(count);
    have += count;
  }
  offset_ += sizeof block;
  return true;
}

void TarReader::skip(uint64_t count) {
  offset_ += count;
  while (count > 0) {
    if (piece_.empty()) {
      piece_ = input_.next();
      if (piece_.empty()) bad("it ends too early");
    }
    size_t some = static_cast<size_t>(std::min<uint64_t>(count, piece_.size()));
    piece_ = piece_.subspan(some);
    count -= some;
  }
}

std::span<const uint8_t> TarReader::data() {
  if (left_ == 0) return {};
  if (piece_.empty()) {
    piece_ = input_.next();
    if (piece_.empty()) bad("it ends too early");
  }
  size_t count = static_cast<size_t>(std::min<uint64_t>(left_, piece_.size()));
  std::span<const uint8_t> part = piece_.first(count);
  piece_ = piece_.subspan(count);
  left_ -= count;
  offset_ += count;
  return part;
}

std::string TarReader::read_text(uint64_t size, const char* what) {
  if (size > kMaxExtended) bad(std::string(what) + " of " + std::to_string(size) + " bytes is too long");
  std::string text;
  text.reserve(static_cast<size_t>(size));
  left_ = size;
  for (std::span<const uint8_t> part = data(); !part.empty(); part = data())
    text.append(reinterpret_cast<const char*>(part.data()), part.size());
  skip((512 - size % 512) % 512);
  return text;
}

void TarReader::read_pax(uint64_t size, Extended& extended) {
  const std::string text = read_text(size, "extended header");
  std::string_view rest = text;
  while (!rest.empty()) {
    // "LENGTH KEY=VALUE\n", the length counting all of it.
    size_t space = rest.find(' ');
    std::optional<uint64_t> length = decimal(rest.substr(0, space == std::string_view::npos ? 0 : space));
    if (!length || *length <= space + 1 || *length > rest.size() || rest[*length - 1] != '\n')
      bad("extended header has a malformed record");
    std::string_view record = rest.substr(space + 1, *length - space - 2);
    rest.remove_prefix(*length);
    size_t equals = record.find('=');
    if (equals == 0 || equals == std::string_view::npos) bad("extended header has a malformed record");
    std::string_view key = record.substr(0, equals);
    std::string_view value = record.substr(equals + 1);
    extended.any = true;

    auto text_value = [&](std::optional<std::string>& to) {
      if (value.find('\0') != std::string_view::npos) bad(std::string(key) + " contains a NUL byte");
      to.reset();
      if (!value.empty()) to = value;
    };
    auto number_value = [&](std::optional<uint64_t>& to) {
      to.reset();
      if (value.empty()) return;
      to = decimal(value);
      if (!to) bad(std::string(key) + " is not a number");
    };
    constexpr std::string_view kXattr = "SCHILY.xattr.";
    if (key == "path") {
      text_value(extended.path);
    } else if (key == "linkpath") {
      text_value(extended.link);
    } else if (key == "size") {
      number_value(extended.size);
    } else if (key == "uid") {
      number_value(extended.uid);
    } else if (key == "gid") {
      number_value(extended.gid);
    } else if (key == "mtime") {
      extended.has_time = !value.empty();
      if (extended.has_time && !parse_time(value, extended.mtime, extended.mtime_ns)) bad("mtime is not a time");
    } else if (key.starts_with(kXattr)) {
      std::string name(key.substr(kXattr.size()));
      if (name.empty() || name.size() > 255 || name.find('\0') != std::string::npos)
        bad("extended attribute has a malformed name");
      std::erase_if(extended.xattrs, [&](const auto& one) { return one.first == name; });
      if (!value.empty()) extended.xattrs.emplace_back(std::move(name), value);
      if (extended.xattrs.size() > kMaxXattrs) bad("too many extended attributes");
    } else if (key == "GNU.sparse.name") {
      text_value(extended.sparse_name);
    } else if (key == "GNU.sparse.size" || key == "GNU.sparse.realsize") {
      extended.sparse = true;
      number_value(extended.sparse_size);
    } else if (key == "GNU.sparse.map") {
      extended.sparse = true;
      text_value(extended.sparse_map);
    } else if (key == "GNU.sparse.major") {
      extended.sparse = true;
      extended.sparse_major = decimal(value).value_or(UINT64_MAX);
    } else if (key == "GNU.sparse.offset") {
      extended.sparse = true;
      number_value(extended.sparse_offset);
    } else if (key == "GNU.sparse.numbytes") {
      std::optional<uint64_t> length_of_run;
      number_value(length_of_run);
      if (!extended.sparse_offset || !length_of_run) bad("sparse map is malformed");
      extended.runs.push_back({*extended.sparse_offset, *length_of_run});
      extended.sparse_offset.reset();
      if (extended.runs.size() > kMaxSparseRuns) bad("sparse map is too long");
    }
  }
}

void TarReader::take_header(const Block& block, TarEntry& entry, Extended& extended) {
  const char type = static_cast<char>(block[156]);
  entry = TarEntry();
  std::string_view name = field(block, 100);
  const bool ustar = memcmp(block + 257, "ustar\0", 6) == 0;
  if (extended.path) {
    entry.path = *extended.path;
  } else {
    std::string_view prefix;
    // star has times behind a shorter prefix; GNU's magic has a blank and times there.
    if (ustar) prefix = field(block + 345, memcmp(block + 508, "tar", 4) == 0 ? 131 : 155);
    entry.path = prefix.empty() ? std::string(name) : std::string(prefix) + "/" + std::string(name);
  }
  if (extended.sparse_name) entry.path = *extended.sparse_name;
  name_ = entry.path.empty() ? "(no name)" : entry.path;
  if (entry.path.size() > kMaxPath) bad("its name is longer than " + std::to_string(kMaxPath) + " bytes");
  entry.link = extended.link ? *extended.link : std::string(field(block + 157, 100));
  if (entry.link.size() > kMaxPath) bad("its link target is longer than " + std::to_string(kMaxPath) + " bytes");

  auto required = [&](const uint8_t* from, size_t size, const char* what) {
    std::optional<int64_t> value = number(from, size);
    if (!value) bad(std::string(what) + " is not a number");
    return *value;
  };
  auto id = [&](const std::optional<uint64_t>& given, const uint8_t* from, const char* what) {
    const int64_t value = given ? static_cast<int64_t>(*given) : required(from, 8, what);
    if (value < 0 || static_cast<uint64_t>(value) > kMaxId) bad(std::string(what) + " is out of range");
    return static_cast<uint32_t>(value);
  };
  entry.mode = static_cast<uint32_t>(required(block + 100, 8, "mode")) & 07777;
  entry.uid = id(extended.uid, block + 108, "uid");
  entry.gid = id(extended.gid, block + 116, "gid");
  int64_t size = extended.size ? static_cast<int64_t>(*extended.size) : required(block + 124, 12, "size");
  if (size < 0) bad("its size is negative");
  if (static_cast<uint64_t>(size) > limits_.bytes)
    bad("its size of " + std::to_string(size) + " bytes is over the limit");
  if (extended.has_time) {
    entry.mtime = extended.mtime;
    entry.mtime_ns = extended.mtime_ns;
  } else {
    entry.mtime = required(block + 136, 12, "mtime");
  }
  entry.xattrs = std::move(extended.xattrs);

  switch (type) {
    case '0':
    case '\0':
    case '7':
    case 'S':
      entry.type = EntryType::file;
      // Before POSIX a folder was a file whose name ends in a slash.
      if (type == '\0' && entry.path.ends_with('/')) entry.type = EntryType::directory;
      break;
    case '1':
      entry.type = EntryType::hard_link;
      break;
    case '2':
      entry.type = EntryType::symlink;
      break;
    case '3':
    case '4': {
      entry.type = type == '3' ? EntryType::char_device : EntryType::block_device;
      int64_t major = required(block + 329, 8, "device number");
      int64_t minor = required(block + 337, 8, "device number");
      if (major < 0 || minor < 0 || major > 0xFFF || minor > 0xFFFFF) bad("device number is out of range");
      entry.device_major = static_cast<uint32_t>(major);
      entry.device_minor = static_cast<uint32_t>(minor);
      break;
    }
    case '5':
    case 'D':
      entry.type = EntryType::directory;
      break;
    case '6':
      entry.type = EntryType::fifo;
      break;
    default:
      bad("type " + printable(std::string_view(&type, 1)) + " is not known");
  }

  // Only files have bytes here, whatever the size field of another kind says; but GNU's folder dumps do.
  const bool stored = entry.type == EntryType::file || type == 'D';
  left_ = stored ? static_cast<uint64_t>(size) : 0;
  padding_ = (512 - left_ % 512) % 512;
  if (entry.type != EntryType::file) return;
  entry.size = static_cast<uint64_t>(size);
  if (type == 'S') {
    read_old_sparse(block, entry);
  } else if (extended.sparse) {
    entry.sparse = true;
    if (extended.sparse_size) entry.size = *extended.sparse_size;
    if (extended.sparse_major == 1) {
      read_sparse_map(entry);
    } else if (extended.sparse_major > 1) {
      bad("sparse format is not known");
    } else if (extended.sparse_map) {
      std::string_view map = *extended.sparse_map;
      std::vector<uint64_t> numbers;
      while (!map.empty()) {
        size_t comma = map.find(',');
        std::optional<uint64_t> value = decimal(map.substr(0, comma));
        if (!value || numbers.size() >= 2 * kMaxSparseRuns) bad("sparse map is malformed");
        numbers.push_back(*value);
        map.remove_prefix(comma == std::string_view::npos ? map.size() : comma + 1);
      }
      if (numbers.size() % 2 != 0) bad("sparse map is malformed");
      for (size_t i = 0; i < numbers.size(); i += 2) entry.runs.push_back({numbers[i], numbers[i + 1]});
    } else {
      entry.runs = std::move(extended.runs);
    }
  }
  if (entry.sparse) check_runs(entry);
}

void TarReader::read_old_sparse(const Block& block, TarEntry& entry) {
  entry.sparse = true;
  auto take = [&](const uint8_t* from, int count) {
    for (int i = 0; i < count; i++, from += 24) {
      if (from[0] == 0) return;
      std::optional<int64_t> offset = number(from, 12);
      std::optional<int64_t> length = number(from + 12, 12);
      if (!offset || !length || *offset < 0 || *length < 0) bad("sparse map is malformed");
      entry.runs.push_back({static_cast<uint64_t>(*offset), static_cast<uint64_t>(*length)});
      if (entry.runs.size() > kMaxSparseRuns) bad("sparse map is too long");
    }
  };
  take(block + 386, 4);
  std::optional<int64_t> real = number(block + 483, 12);
  if (!real || *real < 0) bad("its real size is malformed");
  entry.size = static_cast<uint64_t>(*real);
  // The map goes on in blocks between the header and the data.
  Block more;
  for (bool extended = block[482] != 0; extended; extended = more[504] != 0) {
    if (!read_block(more)) bad("it ends too early");
    take(more, 21);
  }
}

void TarReader::read_sparse_map(TarEntry& entry) {
  // PAX 1.0: the file's own bytes begin with the map, one decimal number in a line, padded to a block.
  std::string text;
  size_t at = 0;
  auto line = [&] {
    for (;;) {
      size_t end = text.find('\n', at);
      if (end != std::string::npos) {
        std::optional<uint64_t> value = decimal(std::string_view(text).substr(at, end - at));
        if (!value) bad("sparse map is malformed");
        at = end + 1;
        return *value;
      }
      Block block;
      if (left_ < sizeof block || text.size() > kMaxExtended) bad("sparse map is malformed");
      if (!read_block(block)) bad("it ends too early");
      left_ -= sizeof block;
      text.append(reinterpret_cast<const char*>(block), sizeof block);
    }
  };
  uint64_t count = line();
  if (count > kMaxSparseRuns) bad("sparse map is too long");
  for (uint64_t i = 0; i < count; i++) {
    uint64_t offset = line();
    uint64_t length = line();
    entry.runs.push_back({offset, length});
  }
}

void TarReader::check_runs(const TarEntry& entry) const {
  if (entry.size > limits_.bytes) bad("its size of " + std::to_string(entry.size) + " bytes is over the limit");
  uint64_t end = 0;
  uint64_t stored = 0;
  for (const SparseRun& run : entry.runs) {
    if (run.offset < end || run.offset > entry.size || run.length > entry.size - run.offset)
      bad("sparse map is not in order");
    end = run.offset + run.length;
    stored += run.length;
  }
  if (stored != left_) bad("sparse map does not fit its stored bytes");
}

bool TarReader::next(TarEntry& entry) {
  if (ended_) return false;
  skip(left_ + padding_);
  left_ = padding_ = 0;
  Extended extended;
  for (;;) {
    name_.clear();
    Block block;
    if (!read_block(block)) {
      // Without the end mark, as some writers leave it.
      if (extended.any) bad("it ends after an extended header");
      ended_ = true;
      return false;
    }
    if (std::all_of(std::begin(block), std::end(block), [](uint8_t byte) { return byte == 0; })) {
      if (extended.any) bad("it ends after an extended header");
      ended_ = true;
      return false;
    }
    std::optional<int64_t> sum = number(block + 148, 8);
    int64_t plain = 0;
    int64_t with_sign = 0;
    for (size_t i = 0; i < sizeof block; i++) {
      uint8_t byte = i >= 148 && i < 156 ? ' ' : block[i];
      plain += byte;
      with_sign += static_cast<int8_t>(byte);
    }
    if (!sum || (*sum != plain && *sum != with_sign)) bad("header has a wrong checksum");
    if (++entries_ > limits_.entries)
      throw InvalidInput("archive has more than " + std::to_string(limits_.entries) + " entries");
    const char type = static_cast<char>(block[156]);
    std::optional<int64_t> size = number(block + 124, 12);
    if (type == 'x' || type == 'g' || type == 'L' || type == 'K' || type == 'V') {
      if (!size || *size < 0) bad("extended header has a malformed size");
      const auto length = static_cast<uint64_t>(*size);
      if (type == 'x') {
        read_pax(length, extended);
      } else if (type == 'g') {
        Extended ignored;
        read_pax(length, ignored);
      } else if (type == 'V') {
        read_text(length, "volume header");
      } else {
        std::string text = read_text(length, "long name");
        text.resize(strnlen(text.data(), text.size()));
        (type == 'L' ? extended.path : extended.link) = std::move(text);
        extended.any = true;
      }
      continue;
    }
    take_header(block, entry, extended);
    return true;
  }
}

}  // namespace gantry
