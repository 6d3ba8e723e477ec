#include "mount_options.h"

#include <linux/mount.h>

#include <algorithm>
#include <string_view>

#include "gantry/error.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

namespace gantry::runtime {
namespace {

struct Attribute {
  std::string_view name;
  std::uint64_t set, clear;
};

// The access-time choice is one field of several bits: it is cleared whole before a value is put into it. "norelatime"
// is strictatime since relatime is what the kernel does otherwise.
constexpr Attribute kAttributes[] = {
    {"ro", MOUNT_ATTR_RDONLY, 0},
    {"rw", 0, MOUNT_ATTR_RDONLY},
    {"nosuid", MOUNT_ATTR_NOSUID, 0},
    {"suid", 0, MOUNT_ATTR_NOSUID},
    {"nodev", MOUNT_ATTR_NODEV, 0},
    {"dev", 0, MOUNT_ATTR_NODEV},
    {"noexec", MOUNT_ATTR_NOEXEC, 0},
    {"exec", 0, MOUNT_ATTR_NOEXEC},
    {"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
    {"diratime", 0, MOUNT_ATTR_NODIRATIME},
    {"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0},
    {"symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW},
    {"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"norelatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    {"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
    {"atime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    {"nostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
};

// Flags of a super block rather than of a mount.
constexpr std::string_view kSuperBlock[] = {"sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand"};
// Words without an effect on Linux today.
constexpr std::string_view kIgnored[] = {"defaults", "loud", "silent", "iversion", "noiversion", "acl", "noacl"};

const Attribute* find_attribute(std::string_view name) {
  for (const auto& attribute : kAttributes) {
    if (attribute.name == name) return &attribute;
  }
  return nullptr;
}

void apply(const Attribute& attribute, std::uint64_t& set, std::uint64_t& clear) {
  set = (set & ~attribute.clear) | attribute.set;
  clear = (clear & ~attribute.set) | attribute.clear;
}

}  // namespace

bool MountOptions::read_only() const { return (set | set_tree) & MOUNT_ATTR_RDONLY; }

std::optional<std::pair<unsigned long, bool>> parse_propagation(const std::string& word) {
  bool tree = word.size() > 1 && word[0] == 'r';
  std::string_view name = std::string_view(word).substr(tree ? 1 : 0);
  // Values of MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED.
  if (name == "unbindable") return {{1ul << 17, tree}};
  if (name == "private") return {{1ul << 18, tree}};
  if (name == "slave") return {{1ul << 19, tree}};
  if (name == "shared") return {{1ul << 20, tree}};
  return std::nullopt;
}

std::vector<std::string> mount_option_names() {
  std::vector<std::string> all = {"bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap"};
  for (const auto& attribute : kAttributes) {
    all.emplace_back(attribute.name);
    all.push_back("r" + std::string(attribute.name));
  }
  for (const char* name : {"unbindable", "private", "slave", "shared"}) {
    all.emplace_back(name);
    all.push_back("r" + std::string(name));
  }
  all.insert(all.end(), std::begin(kSuperBlock), std::end(kSuperBlock));
  all.insert(all.end(), std::begin(kIgnored), std::end(kIgnored));
  std::sort(all.begin(), all.end());
  return all;
}

MountOptions parse_mount_options(const std::vector<std::string>& options) {
  MountOptions result;
  auto option = [&](const std::string& word) {
    if (word.empty()) return;
    if (word == "bind") {
      result.bind = true;
    } else if (word == "rbind") {
      result.bind = result.recursive_bind = true;
    } else if (word == "remount") {
      result.remount = true;
    } else if (word == "tmpcopyup") {
      result.copy_up = true;
    } else if (word == "idmap" || word == "ridmap") {
      result.id_map = true;
      result.id_map_tree = word == "ridmap";
    } else if (auto propagation = parse_propagation(word)) {
      result.propagation.push_back(*propagation);
    } else if (const auto* attribute = find_attribute(word)) {
      apply(*attribute, result.set, result.clear);
    } else if (const auto* tree = word[0] == 'r' ? find_attribute(std::string_view(word).substr(1)) : nullptr) {
      apply(*tree, result.set_tree, result.clear_tree);
    } else {
      for (auto name : kIgnored) {
        if (word == name) return;
      }
      for (auto name : kSuperBlock) {
        if (word == name) {
          result.data.emplace_back(word, std::nullopt);
          return;
        }
      }
      auto equals = word.find('=');
      if (equals == std::string::npos) {
        result.data.emplace_back(word, std::nullopt);
      } else {
        result.data.emplace_back(word.substr(0, equals), word.substr(equals + 1));
      }
    }
  };
  for (const auto& one : options) {
    // An element may hold several options, except that a comma within quotes belongs to a value (SELinux contexts).
    std::size_t start = 0;
    bool quoted = false;
    for (std::size_t i = 0; i <= one.size(); ++i) {
      if (i < one.size() && one[i] == '"') quoted = !quoted;
      if (i == one.size() || (one[i] == ',' && !quoted)) {
        option(one.substr(start, i - start));
        start = i + 1;
      }
    }
  }
  return result;
}

}  // namespace gantry::runtime
