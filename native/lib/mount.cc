#include "gantry/mount.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string_view>
#include <unordered_map>

#include "gantry/error.h"
#include "gantry/workers.h"

namespace gantry {
namespace {

struct Word {
  unsigned long set;
  unsigned long clear;
};

const std::unordered_map<std::string_view, Word>& flag_words() {
  constexpr unsigned long kAtime = MS_NOATIME | MS_RELATIME | MS_STRICTATIME;
  static const std::unordered_map<std::string_view, Word> words = {
      {"defaults", {0, 0}},
      {"ro", {MS_RDONLY, 0}},
      {"rw", {0, MS_RDONLY}},
      {"nosuid", {MS_NOSUID, 0}},
      {"suid", {0, MS_NOSUID}},
      {"nodev", {MS_NODEV, 0}},
      {"dev", {0, MS_NODEV}},
      {"noexec", {MS_NOEXEC, 0}},
      {"exec", {0, MS_NOEXEC}},
      {"sync", {MS_SYNCHRONOUS, 0}},
      {"async", {0, MS_SYNCHRONOUS}},
      {"dirsync", {MS_DIRSYNC, 0}},
      {"noatime", {MS_NOATIME, kAtime}},
      {"atime", {0, MS_NOATIME}},
      {"nodiratime", {MS_NODIRATIME, 0}},
      {"diratime", {0, MS_NODIRATIME}},
      {"relatime", {MS_RELATIME, kAtime}},
      {"norelatime", {0, MS_RELATIME}},
      {"strictatime", {MS_STRICTATIME, kAtime}},
      {"nostrictatime", {0, MS_STRICTATIME}},
      {"lazytime", {MS_LAZYTIME, 0}},
      {"nolazytime", {0, MS_LAZYTIME}},
      {"mand", {MS_MANDLOCK, 0}},
      {"nomand", {0, MS_MANDLOCK}},
      {"iversion", {MS_I_VERSION, 0}},
      {"noiversion", {0, MS_I_VERSION}},
      {"silent", {MS_SILENT, 0}},
      {"loud", {0, MS_SILENT}},
      {"bind", {MS_BIND, 0}},
      {"rbind", {MS_BIND | MS_REC, 0}},
      {"remount", {MS_REMOUNT, 0}},
  };
  return words;
}

const std::unordered_map<std::string_view, unsigned long>& propagation_words() {
  static const std::unordered_map<std::string_view, unsigned long> words = {
      {"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
      {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
      {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
      {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC},
  };
  return words;
}

struct Parsed {
  unsigned long flags = 0;
  std::vector<unsigned long> propagation;
  std::vector<std::string> data;
};

Parsed parse(const MountRequest& request) {
  Parsed parsed;
  if (request.type == "bind") parsed.flags |= MS_BIND;
  for (const std::string& option : request.options) {
    if (auto flag = flag_words().find(option); flag != flag_words().end()) {
      parsed.flags = (parsed.flags & ~flag->second.clear) | flag->second.set;
    } else if (auto kind = propagation_words().find(option); kind != propagation_words().end()) {
      parsed.propagation.push_back(kind->second);
    } else if (!option.empty()) {
      parsed.data.push_back(option);
    }
  }
  return parsed;
}

std::string joined(const std::vector<std::string>& options) {
  std::string text;
  for (const std::string& option : options) {
    if (!text.empty()) text += ',';
    text += option;
  }
  return text;
}

/// The longest folder that every path of an overlay's options begins with; "" when they have none.
std::string common_folder(const std::vector<std::string>& options) {
  std::string common;
  bool first = true;
  auto take = [&](std::string_view path) {
    std::string folder(path.substr(0, path.rfind('/') + 1));
    if (first) {
      common = folder;
      first = false;
      return;
    }
    size_t same = 0;
    while (same < common.size() && same < folder.size() && common[same] == folder[same]) same++;
    common.resize(same);
    common.resize(common.rfind('/') == std::string::npos ? 0 : common.rfind('/') + 1);
  };
  for (const std::string& option : options) {
    size_t equals = option.find('=');
    std::string_view key = std::string_view(option).substr(0, equals);
    if (key != "lowerdir" && key != "upperdir" && key != "workdir") continue;
    std::string_view value = std::string_view(option).substr(equals + 1);
    while (!value.empty()) {
      size_t colon = key == "lowerdir" ? value.find(':') : std::string_view::npos;
      take(value.substr(0, colon));
      if (colon == std::string_view::npos) break;
      value.remove_prefix(colon + 1);
    }
  }
  return common;
}

std::vector<std::string> relative_to(const std::vector<std::string>& options, const std::string& folder) {
  std::vector<std::string> shorter;
  for (const std::string& option : options) {
    size_t equals = option.find('=');
    std::string_view key = std::string_view(option).substr(0, equals);
    if (key != "lowerdir" && key != "upperdir" && key != "workdir") {
      shorter.push_back(option);
      continue;
    }
    std::string text(key);
    text += '=';
    std::string_view value = std::string_view(option).substr(equals + 1);
    for (bool more = true; more;) {
      size_t colon = key == "lowerdir" ? value.find(':') : std::string_view::npos;
      text += value.substr(0, colon).substr(folder.size());
      more = colon != std::string_view::npos;
      if (more) {
        text += ':';
        value.remove_prefix(colon + 1);
      }
    }
    shorter.push_back(std::move(text));
  }
  return shorter;
}

void mount_new(const MountRequest& request, const Parsed& parsed, const std::string& target) {
  std::string data = joined(parsed.data);
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  std::string at = target;
  if (data.size() >= page && request.type == "overlay") {
    // mount(2) takes one page of options. The layers' names without the folder that they share are far shorter, and
    // the kernel takes them as relative to the working directory, which this thread can have for itself.
    std::string folder = common_folder(parsed.data);
    if (!folder.empty()) {
      unshare_thread(CLONE_FS, "CLONE_FS");
      if (chdir(folder.c_str()) != 0) throw_errno("chdir", folder);
      data = joined(relative_to(parsed.data, folder));
    }
  }
  if (data.size() >= page)
    throw InvalidInput("mount options of " + request.type + " take " + std::to_string(data.size()) +
                       " bytes, and the kernel's limit is " + std::to_string(page - 1));
  if (::mount(request.source.c_str(), at.c_str(), request.type.c_str(), parsed.flags,
              data.empty() ? nullptr : data.c_str()) != 0)
    throw_errno("mount", target);
}

void mount_bind(const MountRequest& request, const Parsed& parsed, const std::string& target) {
  constexpr unsigned long kBind = MS_BIND | MS_REC;
  if (!parsed.data.empty()) throw InvalidInput("a bind mount takes no option " + parsed.data.front());
  if (::mount(request.source.c_str(), target.c_str(), nullptr, parsed.flags & kBind, nullptr) != 0)
    throw_errno("mount", target);
  unsigned long extra = parsed.flags & ~(kBind | MS_SILENT | MS_REMOUNT);
  if (extra == 0) return;
  // The kernel ignores flags such as MS_RDONLY in the call that binds.
  if (::mount(nullptr, target.c_str(), nullptr, MS_BIND | MS_REMOUNT | extra, nullptr) != 0) {
    int err = errno;
    umount2(target.c_str(), MNT_DETACH);
    throw SysError(err, "mount", target);
  }
}

std::string unescaped(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); i++) {
    auto digit = [&](size_t at) { return text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && i + 3 < text.size() && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

}  // namespace

void mount_at(const MountRequest& request, const std::string& target) {
  Parsed parsed = parse(request);
  if (target.empty() || target.front() != '/') throw InvalidInput("mount target is not absolute: " + target);
  if (parsed.flags & MS_REMOUNT) {
    std::string data = joined(parsed.data);
    if (::mount(nullptr, target.c_str(), nullptr, parsed.flags, data.empty() ? nullptr : data.c_str()) != 0)
      throw_errno("mount", target);
  } else if (parsed.flags & MS_BIND) {
    mount_bind(request, parsed, target);
  } else {
    mount_new(request, parsed, target);
  }
  for (unsigned long kind : parsed.propagation) {
    if (::mount(nullptr, target.c_str(), nullptr, kind, nullptr) != 0) {
      int err = errno;
      if (!(parsed.flags & MS_REMOUNT)) umount2(target.c_str(), MNT_DETACH);
      throw SysError(err, "mount", target);
    }
  }
}

void unmount_at(const std::string& target, bool lazy) {
  if (umount2(target.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0) return;
  if (errno == EINVAL || errno == ENOENT) return;
  throw_errno("umount2", target);
}

std::vector<MountPoint> mounts_below(const std::string& path) {
  std::vector<MountPoint> found;
  std::ifstream table("/proc/self/mountinfo");
  if (!table) throw_errno("open", "/proc/self/mountinfo");
  std::string below = path.ends_with('/') ? path : path + "/";
  std::string exact = below.size() > 1 ? below.substr(0, below.size() - 1) : below;
  for (std::string line; std::getline(table, line);) {
    // id parent major:minor root target options [tag…] - type source options
    std::vector<std::string_view> fields;
    std::string_view rest = line;
    while (!rest.empty()) {
      size_t space = rest.find(' ');
      fields.push_back(rest.substr(0, space));
      if (space == std::string_view::npos) break;
      rest.remove_prefix(space + 1);
    }
    auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 5 || fields.end() - dash < 3) continue;
    std::string target = unescaped(fields[4]);
    if (target != exact && !target.starts_with(below)) continue;
    found.push_back({std::move(target), unescaped(dash[1]), unescaped(dash[2])});
  }
  // The kernel lists a mount after the one that it lies on; backwards, each can be unmounted when its turn comes.
  std::reverse(found.begin(), found.end());
  std::stable_sort(found.begin(), found.end(), [](const MountPoint& a, const MountPoint& b) {
    return std::count(a.target.begin(), a.target.end(), '/') > std::count(b.target.begin(), b.target.end(), '/');
  });
  return found;
}

FileSystem file_system_of(const std::string& path) {
  struct statfs st;
  if (statfs(path.c_str(), &st) != 0) throw_errno("statfs", path);
  static const std::unordered_map<unsigned long, const char*> names = {
      {0xEF53, "ext4"},         {0x58465342, "xfs"},   {0x9123683E, "btrfs"},    {0x01021994, "tmpfs"},
      {0x794C7630, "overlay"},  {0x2FC12FC1, "zfs"},   {0x6969, "nfs"},          {0xF2F52010, "f2fs"},
      {0x65735546, "fuse"},     {0x858458F6, "ramfs"}, {0xE0F5E1E2, "erofs"},    {0x73717368, "squashfs"},
      {0x01021997, "9p"},       {0xFF534D42, "cifs"},  {0xFE534D42, "smb2"},     {0xF15F, "ecryptfs"},
      {0xCA451A4E, "bcachefs"}, {0x61756673, "aufs"},  {0x00C36400, "ceph"},     {0x0BD00BD0, "lustre"},
      {0x47504653, "gpfs"},     {0x3153464A, "jfs"},   {0x52654973, "reiserfs"},
  };
  FileSystem info;
  auto name = names.find(static_cast<unsigned long>(st.f_type) & 0xFFFFFFFFUL);
  if (name != names.end()) {
    info.type = name->second;
  } else {
    char text[32];
    snprintf(text, sizeof text, "0x%lx", static_cast<unsigned long>(st.f_type) & 0xFFFFFFFFUL);
    info.type = text;
  }
  info.free = static_cast<unsigned long long>(st.f_bavail) * static_cast<unsigned long long>(st.f_bsize);
  info.total = static_cast<unsigned long long>(st.f_blocks) * static_cast<unsigned long long>(st.f_bsize);
  return info;
}

}  // namespace gantry
