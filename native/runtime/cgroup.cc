#include "cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <thread>

#include "gantry/error.h"
#include "spec.h"

namespace gantry::runtime {
namespace {

const std::string kRoot = "/sys/fs/cgroup";
// The v1 hierarchies that a host may have, named as their directories are; joint ones are links to each other.
constexpr const char* kControllers[] = {"cpu",        "cpuacct", "cpuset", "memory",  "devices",
                                        "freezer",    "blkio",   "pids",   "net_cls", "net_prio",
                                        "perf_event", "hugetlb", "rdma",   "misc",    "systemd"};

long filesystem(const std::string& path) {
  struct statfs fs;
  return ::statfs(path.c_str(), &fs) == 0 ? static_cast<long>(fs.f_type) : 0;
}

/// Our own cgroup in a hierarchy, from /proc/self/cgroup text; "/" when it is not listed.
std::string own_cgroup(const std::string& text, const std::string& controller) {
  std::size_t start = 0;
  while (start < text.size()) {
    auto end = std::min(text.find('\n', start), text.size());
    std::string line = text.substr(start, end - start);
    start = end + 1;
    auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    bool unified = controller == "unified" && line.compare(0, 2, "0:") == 0;
    if (unified || names.find("," + controller + ",") != std::string::npos ||
        names.find(",name=" + controller + ",") != std::string::npos) {
      return line.substr(second + 1);
    }
  }
  return "/";
}

void visit_children(const std::string& dir, const std::function<void(const std::string&)>& visit) {
  DIR* handle = ::opendir(dir.c_str());
  if (!handle) return;
  std::vector<std::string> names;
  while (struct dirent* entry = ::readdir(handle)) {
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  ::closedir(handle);
  for (const auto& name : names) visit(dir + "/" + name);
}

void collect(const std::string& dir, std::vector<pid_t>& pids) {
  std::optional<std::string> text;
  try {
    text = try_read_file(dir + "/cgroup.procs");
  } catch (const SysError&) {
    // Removed between the two calls, or a threaded cgroup, whose processes its parent lists.
  }
  if (!text) return;
  const char* at = text->data();
  const char* end = at + text->size();
  while (at < end) {
    pid_t pid = 0;
    auto [next, err] = std::from_chars(at, end, pid);
    if (err == std::errc() && pid > 0) pids.push_back(pid);
    at = next + 1;
  }
  visit_children(dir, [&](const std::string& child) { collect(child, pids); });
}

void remove_tree(const std::string& dir) {
  // A process that has exited leaves its cgroup a moment after it was reaped.
  auto pause = std::chrono::microseconds(100);
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (::rmdir(dir.c_str()) != 0) {
    if (errno == ENOENT) return;
    int err = errno;
    visit_children(dir, remove_tree);
    if (err != EBUSY && err != ENOTEMPTY) throw SysError(err, "rmdir", dir);
    if (std::chrono::steady_clock::now() > end) throw SysError(err, "rmdir", dir);
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(20000));
  }
}

}  // namespace

void write_control(const std::string& dir, const std::string& file, const std::string& value) {
  if (dir.empty()) throw InvalidInput("cannot set " + file + ": the container has no cgroup of its own");
  std::string path = dir + "/" + file;
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
  while (::write(fd.get(), value.data(), value.size()) < 0) {
    if (errno != EINTR) throw_errno("write \"" + value + "\" to", path);
  }
}

std::string read_control(const std::string& dir, const std::string& file) {
  std::string text = read_file(dir + "/" + file);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

bool has_control(const std::string& dir, const std::string& file) {
  return ::access((dir + "/" + file).c_str(), F_OK) == 0;
}

std::vector<std::string> hugepage_sizes() {
  std::vector<std::string> all;
  DIR* dir = ::opendir("/sys/kernel/mm/hugepages");
  if (!dir) return all;
  while (struct dirent* entry = ::readdir(dir)) {
    unsigned long kilobytes = 0;
    if (std::sscanf(entry->d_name, "hugepages-%lukB", &kilobytes) != 1) continue;
    all.push_back(kilobytes >= 1u << 20   ? std::to_string(kilobytes >> 20) + "GB"
                  : kilobytes >= 1u << 10 ? std::to_string(kilobytes >> 10) + "MB"
                                          : std::to_string(kilobytes) + "KB");
  }
  ::closedir(dir);
  std::sort(all.begin(), all.end());
  return all;
}

std::string clean_cgroup_path(const std::string& path) {
  std::vector<std::string> parts;
  for (std::size_t start = 0; start < path.size();) {
    auto end = std::min(path.find('/', start), path.size());
    std::string part = path.substr(start, end - start);
    start = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else {
      parts.push_back(part);
    }
  }
  std::string out;
  for (const auto& part : parts) out += "/" + part;
  return out;
}

std::string device_value(std::int64_t major, std::int64_t minor, const std::string& value) {
  return std::to_string(major) + ":" + std::to_string(minor) + " " + value;
}

const std::vector<DeviceRule>& implied_device_rules() {
  static const std::vector<DeviceRule> rules = {
      {true, 'c', {}, {}, "m"},    {true, 'b', {}, {}, "m"}, {true, 'c', 1, 3, "rwm"}, {true, 'c', 1, 8, "rwm"},
      {true, 'c', 1, 7, "rwm"},    {true, 'c', 5, 0, "rwm"}, {true, 'c', 1, 5, "rwm"}, {true, 'c', 1, 9, "rwm"},
      {true, 'c', 136, {}, "rwm"}, {true, 'c', 5, 1, "rwm"}, {true, 'c', 5, 2, "rwm"},
  };
  return rules;
}

Cgroups Cgroups::locate(const std::string& cgroups_path, const std::string& id) {
  std::string wanted = cgroups_path.empty() ? id : cgroups_path;
  bool relative = wanted[0] != '/';
  std::string own = relative ? read_file("/proc/self/cgroup") : "";
  std::vector<CgroupDir> dirs;
  auto add = [&](const std::string& controller, const std::string& root, bool parent_of_own) {
    std::string base = relative ? own_cgroup(own, controller) : "";
    // Our own v2 cgroup has processes in it, ourselves, so it cannot give controllers to a child; its parent can.
    if (parent_of_own && base.size() > 1) base = base.substr(0, base.rfind('/'));
    std::string path = clean_cgroup_path(base + "/" + wanted);
    if (path.empty()) throw InvalidInput("cgroupsPath " + wanted + " is the root of the hierarchy");
    dirs.push_back({controller, root + path});
  };
  long type = filesystem(kRoot);
  if (type == CGROUP2_SUPER_MAGIC) {
    add("unified", kRoot, true);
    return Cgroups(std::move(dirs), true);
  }
  std::vector<ino_t> seen;
  std::vector<dev_t> devices;
  for (const char* controller : kControllers) {
    std::string root = kRoot + "/" + controller;
    struct stat st;
    if (filesystem(root) != CGROUP_SUPER_MAGIC || ::stat(root.c_str(), &st) != 0) continue;
    // cpu and cpuacct may be one hierarchy under two names.
    if (std::find(devices.begin(), devices.end(), st.st_dev) != devices.end()) continue;
    devices.push_back(st.st_dev);
    add(controller, root, false);
  }
  std::string unified = kRoot + "/unified";
  if (filesystem(unified) == CGROUP2_SUPER_MAGIC) add("unified", unified, false);
  return Cgroups(std::move(dirs), false);
}

std::string Cgroups::path_of(const std::string& controller) const {
  for (const auto& dir : dirs_) {
    if (dir.controller == controller) return dir.path;
  }
  return "";
}

Cgroups Cgroups::below(const std::vector<std::string>& wanted) const {
  Cgroups chosen = *this;
  for (const auto& one : wanted) {
    auto colon = one.find(':');
    std::string controllers = colon == std::string::npos ? "" : one.substr(0, colon);
    std::string path = clean_cgroup_path(colon == std::string::npos ? one : one.substr(colon + 1));
    if (v2_ && (!controllers.empty() || wanted.size() > 1)) {
      throw InvalidInput("cgroup " + one + ": cgroup v2 has one path for all controllers");
    }
    bool found = false;
    for (std::size_t i = 0; i < dirs_.size(); ++i) {
      bool meant = controllers.empty();
      for (std::size_t start = 0; start < controllers.size();) {
        auto end = std::min(controllers.find(',', start), controllers.size());
        std::string name = "," + controllers.substr(start, end - start) + ",";
        meant = meant || ("," + dirs_[i].controller + ",").find(name) != std::string::npos;
        start = end + 1;
      }
      if (!meant) continue;
      found = true;
      chosen.dirs_[i].path = dirs_[i].path + path;
    }
    if (!found) throw InvalidInput("cgroup " + one + ": this host has no such controller");
  }
  for (const auto& dir : chosen.dirs_) {
    if (::access(dir.path.c_str(), F_OK) != 0) throw_errno("open cgroup", dir.path);
  }
  return chosen;
}

void Cgroups::apply(const Resources& resources) const {
  if (v2_) {
    apply_v2(resources);
  } else {
    apply_v1(resources);
  }
}

std::vector<UniqueFd> Cgroups::open_tasks() const {
  std::vector<UniqueFd> all;
  for (const auto& dir : dirs_) {
    if (dir.controller == "unified") continue;
    std::string path = dir.path + "/tasks";
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) throw_errno("open", path);
    all.push_back(std::move(fd));
  }
  return all;
}

UniqueFd Cgroups::open_unified() const {
  std::string path = path_of("unified");
  if (path.empty()) return UniqueFd();
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
  return fd;
}

std::string Cgroups::process_dir() const {
  if (v2_) return path_of("unified");
  for (const char* preferred : {"freezer", "pids", "memory", "devices", "systemd", "unified"}) {
    if (std::string path = path_of(preferred); !path.empty()) return path;
  }
  return dirs_.empty() ? "" : dirs_.front().path;
}

std::vector<pid_t> Cgroups::processes() const {
  std::vector<pid_t> pids;
  if (std::string dir = process_dir(); !dir.empty()) collect(dir, pids);
  return pids;
}

void Cgroups::signal_all(int signal) const {
  std::vector<std::pair<pid_t, UniqueFd>> held;
  for (pid_t pid : processes()) {
    if (UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); fd) held.emplace_back(pid, std::move(fd));
  }
  // Listed again now that it cannot be another's number any more: only then is it one of ours.
  auto still = processes();
  for (const auto& [pid, fd] : held) {
    if (std::find(still.begin(), still.end(), pid) == still.end()) continue;
    if (::syscall(SYS_pidfd_send_signal, fd.get(), signal, nullptr, 0) != 0 && errno != ESRCH) {
      throw_errno("signal process " + std::to_string(pid));
    }
  }
}

bool Cgroups::kill_all(std::chrono::milliseconds limit) const {
  std::string unified = path_of("unified");
  auto end = std::chrono::steady_clock::now() + limit;
  auto pause = std::chrono::microseconds(100);
  bool by_kernel = false;
  if (!unified.empty() && has_control(unified, "cgroup.kill")) {
    write_control(unified, "cgroup.kill", "1");
    by_kernel = true;
  }
  for (;;) {
    auto pids = processes();
    if (pids.empty()) return true;
    // Frozen, so that nothing forks away between the reading of the list and the signals. v2's kill acts on frozen
    // processes as well; v1's do not die before they are thawed.
    bool freezer = !v2_ && !path_of("freezer").empty();
    if (freezer) freeze(true);
    if (freezer || !by_kernel) {
      for (pid_t pid : processes()) ::kill(pid, SIGKILL);
    }
    if (freezer) freeze(false);
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(20000));
  }
}

void Cgroups::freeze(bool frozen) const {
  std::string v1 = path_of("freezer");
  std::string dir = v1.empty() ? path_of("unified") : v1;
  if (dir.empty()) throw InvalidInput("this host has no cgroup freezer");
  auto pause = std::chrono::microseconds(50);
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  auto done = [&] {
    if (!v1.empty()) return read_control(dir, "freezer.state") == (frozen ? "FROZEN" : "THAWED");
    return read_control(dir, "cgroup.events").find(frozen ? "frozen 1" : "frozen 0") != std::string::npos;
  };
  for (;;) {
    if (!v1.empty()) {
      write_control(dir, "freezer.state", frozen ? "FROZEN" : "THAWED");
    } else {
      write_control(dir, "cgroup.freeze", frozen ? "1" : "0");
    }
    if (done()) return;
    if (std::chrono::steady_clock::now() > end) {
      // Half frozen is worse than not.
      write_control(dir, v1.empty() ? "cgroup.freeze" : "freezer.state", v1.empty() ? "0" : "THAWED");
      throw InvalidInput(std::string("unable to ") + (frozen ? "freeze" : "thaw") + " " + dir);
    }
    // v1 stays at FREEZING when a process forks at the wrong moment; a thaw in between lets it go on.
    if (!v1.empty() && frozen && pause > std::chrono::microseconds(3000)) write_control(dir, "freezer.state", "THAWED");
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(10000));
  }
}

bool Cgroups::frozen() const {
  try {
    if (std::string v1 = path_of("freezer"); !v1.empty()) return read_control(v1, "freezer.state") != "THAWED";
    if (std::string dir = path_of("unified"); !dir.empty()) return read_control(dir, "cgroup.freeze") == "1";
  } catch (const SysError&) {
  }
  return false;
}

void Cgroups::remove() const {
  for (const auto& dir : dirs_) remove_tree(dir.path);
}

bool Cgroups::used(const std::string& dir) const {
  auto text = try_read_file(dir + (v2_ ? "/cgroup.events" : "/cgroup.procs"));
  if (!text) return false;
  return v2_ ? text->find("populated 0") == std::string::npos : text->find_first_not_of('\n') != std::string::npos;
}

void Cgroups::refuse_if_used() const {
  std::string dir = process_dir();
  if (!dir.empty() && used(dir)) throw InvalidInput("container's cgroup is not empty: " + dir);
}

void Cgroups::create(bool forgiving, bool inhabited) {
  std::vector<CgroupDir> made;
  try {
    for (const auto& dir : dirs_) {
      try {
        v2_ ? create_v2(dir, inhabited) : create_v1(dir, inhabited);
        made.push_back(dir);
      } catch (const SysError& e) {
        if (!forgiving || (e.err() != EACCES && e.err() != EPERM && e.err() != EROFS)) throw;
      }
    }
  } catch (...) {
    // Empty ones only, and nobody's processes are touched.
    for (const auto& dir : made) ::rmdir(dir.path.c_str());
    throw;
  }
  dirs_ = std::move(made);
}

void Cgroups::create_v1(const CgroupDir& dir, bool inhabited) const {
  if (::mkdir(dir.path.c_str(), 0755) == 0) {
    if (dir.controller != "cpuset") return;
  } else if (errno == EEXIST) {
    if (!inhabited && used(dir.path)) throw InvalidInput("container's cgroup is not empty: " + dir.path);
  } else if (errno != ENOENT) {
    throw_errno("mkdir", dir.path);
  }
  // From the top, since a new cpuset has no processors until it is given its parent's.
  std::pair<const char*, std::string> inherited[] = {{"cpuset.cpus", {}}, {"cpuset.mems", {}}};
  std::size_t root = kRoot.size() + 1 + dir.controller.size();
  for (std::size_t slash = dir.path.find('/', root); slash != std::string::npos;) {
    std::size_t next = dir.path.find('/', slash + 1);
    std::string level = dir.path.substr(0, next);
    if (::mkdir(level.c_str(), 0755) != 0 && errno != EEXIST) throw_errno("mkdir", level);
    if (dir.controller == "cpuset") {
      for (auto& [file, above] : inherited) {
        std::string own = read_control(level, file);
        if (own.empty()) {
          if (above.empty()) above = read_control(level.substr(0, slash), file);
          write_control(level, file, above);
        } else {
          above = own;
        }
      }
    }
    slash = next;
  }
}

}  // namespace gantry::runtime
