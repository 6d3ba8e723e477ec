#include "state.h"

#include <dirent.h>
#include <fcntl.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "gantry/error.h"
#include "json.h"
#include "naive.h"
#include "spec.h"

namespace gantry::runtime {
namespace {

constexpr int kVersion = 1;
constexpr std::size_t kMaxStateBytes = 2 * kMaxConfigBytes;
using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

void member(Writer& w, const char* name, const std::string& value) {
  w.Key(name);
  w.String(value);
}

std::string serialize(const State& s) {
  rapidjson::StringBuffer buffer;
  Writer w(buffer);
  w.StartObject();
  w.Key("version");
  w.Int(kVersion);
  member(w, "id", s.id);
  member(w, "ociVersion", s.oci_version);
  w.Key("pid");
  w.Int(s.pid);
  w.Key("startTime");
  w.Uint64(s.start_time);
  member(w, "bootId", s.boot_id);
  member(w, "bundle", s.bundle);
  member(w, "rootfs", s.rootfs);
  member(w, "created", s.created);
  member(w, "owner", s.owner);
  w.Key("cgroupV2");
  w.Bool(s.cgroup_v2);
  w.Key("cgroups");
  w.StartArray();
  for (const auto& dir : s.cgroups) {
    w.StartObject();
    member(w, "controller", dir.controller);
    member(w, "path", dir.path);
    w.EndObject();
  }
  w.EndArray();
  if (s.systemd_unit) {
    w.Key("systemdUnit");
    w.StartObject();
    member(w, "name", s.systemd_unit->name);
    member(w, "slice", s.systemd_unit->slice);
    w.Key("user");
    w.Bool(s.systemd_unit->user);
    w.EndObject();
  }
  w.Key("noNewKeyring");
  w.Bool(s.no_new_keyring);
  w.Key("streams");
  w.StartArray();
  for (const auto& stream : s.streams) w.String(stream);
  w.EndArray();
  member(w, "config", s.config);
  w.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize());
}

}  // namespace

const char* status_name(Status status) {
  switch (status) {
    case Status::kCreated:
      return "created";
    case Status::kRunning:
      return "running";
    case Status::kPaused:
      return "paused";
    case Status::kStopped:
      return "stopped";
  }
  return "unknown";
}

void check_id(const std::string& id) {
  bool ok = !id.empty() && id != "." && id != ".." && id.size() <= 1024;
  for (char c : id) {
    ok = ok && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::strchr("_+-.", c));
  }
  if (!ok) throw InvalidInput("invalid container id format: " + (id.empty() ? "the id is empty" : id));
}

UniqueFd StateRoot::reserve(const std::string& id) const {
  std::string dir = folder(id);
  // Nobody else's: exec.fifo, which a container's user must be able to write, is reached by descriptor.
  int made = ::mkdir(dir.c_str(), 0700);
  if (made != 0 && errno == ENOENT) {
    for (std::size_t slash = path_.find('/', 1);; slash = path_.find('/', slash + 1)) {
      std::string level = path_.substr(0, slash);
      if (::mkdir(level.c_str(), slash == std::string::npos ? 0700 : 0755) != 0 && errno != EEXIST) {
        throw_errno("mkdir", level);
      }
      if (slash == std::string::npos) break;
    }
    made = ::mkdir(dir.c_str(), 0700);
  }
  if (made != 0) {
    if (errno == EEXIST) throw InvalidInput("container with given ID already exists");
    throw_errno("mkdir", dir);
  }
  UniqueFd fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st;
  if (!fd || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0 || ::fstat(fd.get(), &st) != 0 || st.st_nlink == 0) {
    throw InvalidInput("the container was deleted while it was created");
  }
  return fd;
}

UniqueFd StateRoot::lock(const std::string& id, std::chrono::milliseconds limit) const {
  check_id(id);
  UniqueFd fd(::open(folder(id).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) throw NoSuchContainer();
    throw_errno("open", folder(id));
  }
  auto end = std::chrono::steady_clock::now() + limit;
  auto pause = std::chrono::microseconds(200);
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) throw_errno("lock", folder(id));
    if (std::chrono::steady_clock::now() > end) throw InvalidInput("the container is being created or deleted");
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(20000));
  }
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) throw_errno("stat", folder(id));
  if (st.st_nlink == 0) throw NoSuchContainer();
  return fd;
}

void StateRoot::announce(const State& state) const {
  std::string dir = folder(state.id), temporary = dir + "/state.json.new";
  write_file(temporary, serialize(state));
  if (::rename(temporary.c_str(), (dir + "/creating.json").c_str()) != 0) throw_errno("rename", temporary);
}

void StateRoot::save(const State& state) const {
  std::string dir = folder(state.id), path = dir + "/state.json", temporary = path + ".new";
  write_file(temporary, serialize(state));
  // Not synced: after a crash of the host no process of it is left, and a boot id tells a file from before.
  if (::rename(temporary.c_str(), path.c_str()) != 0) throw_errno("rename", temporary);
  // Not one name replaced by the other: ext4 writes a file out to disk when it replaces another.
  if (::unlink((dir + "/creating.json").c_str()) != 0 && errno != ENOENT) throw_errno("unlink", dir + "/creating.json");
}

void StateRoot::write_file(const std::string& temporary, const std::string& text) {
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) throw_errno("create", temporary);
  for (std::size_t done = 0; done < text.size();) {
    ssize_t n = ::write(fd.get(), text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("write", temporary);
    done += static_cast<std::size_t>(n);
  }
}

State StateRoot::load(const std::string& id) const {
  check_id(id);
  auto text = try_read_file(folder(id) + "/state.json", kMaxStateBytes);
  if (!text) text = try_read_file(folder(id) + "/creating.json", kMaxStateBytes);
  if (!text) throw NoSuchContainer();
  JsonDocument document(*text, "state.json");
  Json json = document.root();
  if (json["version"].int64() != kVersion) json["version"].refuse("version 1");
  State s;
  s.id = json["id"].string();
  if (s.id != id) json["id"].refuse(id);
  s.oci_version = json["ociVersion"].string();
  auto pid = json["pid"].int64();
  if (pid < 0 || pid > 1 << 22) json["pid"].refuse("a pid");
  s.pid = static_cast<pid_t>(pid);
  s.start_time = json["startTime"].uint64();
  s.boot_id = json["bootId"].string();
  s.bundle = json["bundle"].string();
  s.rootfs = json["rootfs"].string();
  s.created = json["created"].string();
  s.owner = json["owner"].string();
  s.cgroup_v2 = json["cgroupV2"].boolean();
  s.no_new_keyring = json["noNewKeyring"].boolean_or(false);
  json["cgroups"].each([&](const Json& dir) {
    s.cgroups.push_back({dir["controller"].string(), dir["path"].string()});
    // What is here gets its processes killed and is removed.
    if (s.cgroups.back().path.rfind("/sys/fs/cgroup/", 0) != 0) dir["path"].refuse("a cgroup");
  });
  if (auto unit = json["systemdUnit"]; unit.present()) {
    s.systemd_unit = SystemdUnit{unit["name"].string(), unit["slice"].string(), unit["user"].boolean()};
  }
  s.streams = json["streams"].strings();
  s.config = json["config"].string();
  return s;
}

std::vector<std::string> StateRoot::ids() const {
  std::vector<std::string> all;
  DIR* dir = ::opendir(path_.c_str());
  if (!dir) {
    if (errno == ENOENT) return all;
    throw_errno("open", path_);
  }
  while (struct dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] != '.') all.emplace_back(entry->d_name);
  }
  ::closedir(dir);
  std::sort(all.begin(), all.end());
  return all;
}

void StateRoot::remove(const std::string& id) const {
  std::string dir = folder(id);
  for (const char* name : {"/state.json", "/state.json.new", "/creating.json", "/exec.fifo"}) {
    if (::unlink((dir + name).c_str()) != 0 && errno != ENOENT) throw_errno("unlink", dir + name);
  }
  if (::rmdir(dir.c_str()) != 0 && errno != ENOENT) throw_errno("rmdir", dir);
}

std::optional<ProcessInfo> process_info(pid_t pid) {
  std::optional<std::string> read;
  try {
    read = try_read_file("/proc/" + std::to_string(pid) + "/stat");
  } catch (const SysError&) {
    // It ended between the two calls.
  }
  if (!read) return std::nullopt;
  const std::string& text = *read;
  // The name is in parentheses and may hold any character, also a parenthesis.
  auto open = text.find('('), close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close + 2 >= text.size()) return std::nullopt;
  ProcessInfo info;
  info.name = text.substr(open + 1, close - open - 1);
  info.state = text[close + 2];
  std::size_t at = close + 2;
  for (int field = 3; field < 22 && at != std::string::npos; ++field) at = text.find(' ', at + 1);
  if (at == std::string::npos) return std::nullopt;
  info.start_time = std::strtoull(text.c_str() + at, nullptr, 10);
  return info;
}

std::string boot_id() {
  std::string text = read_file("/proc/sys/kernel/random/boot_id");
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

namespace {

/// The first process, when it is alive and truly it.
std::optional<ProcessInfo> live_init(const State& state) {
  if (state.pid <= 0 || state.boot_id != boot_id()) return std::nullopt;
  auto info = process_info(state.pid);
  if constexpr (kNaive) return info;
  if (!info || info->start_time != state.start_time || info->state == 'Z' || info->state == 'X') return std::nullopt;
  return info;
}

}  // namespace

Status status_of(const StateRoot& root, const State& state) {
  auto info = live_init(state);
  if (!info) return Status::kStopped;
  // Both, since who starts a container by the fifo alone may not have removed it yet.
  bool fifo = ::access((root.folder(state.id) + "/exec.fifo").c_str(), F_OK) == 0;
  if (fifo && info->name == kInitName) return Status::kCreated;
  return state.cgroup_dirs().frozen() ? Status::kPaused : Status::kRunning;
}

UniqueFd open_init(const State& state) {
  if (!live_init(state)) return UniqueFd();
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, state.pid, 0)));
  // The number may have found a new owner between the two.
  if (fd && !live_init(state)) return UniqueFd();
  return fd;
}

std::string state_document(const State& state, const std::string& status, bool runc_fields) {
  // What was only announced has no configuration yet.
  rapidjson::StringBuffer buffer;
  Writer w(buffer);
  w.StartObject();
  member(w, "ociVersion", state.oci_version);
  member(w, "id", state.id);
  w.Key("pid");
  w.Int(status == "stopped" ? 0 : state.pid);
  member(w, "status", status);
  member(w, "bundle", state.bundle);
  if (runc_fields) {
    member(w, "rootfs", state.rootfs);
    member(w, "created", state.created);
  }
  JsonDocument document(state.config.empty() ? "{}" : state.config, "config.json");
  if (const auto* annotations = document.root()["annotations"].raw(); annotations && annotations->IsObject()) {
    w.Key("annotations");
    annotations->Accept(w);
  }
  if (runc_fields) member(w, "owner", state.owner);
  w.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize());
}

std::string timestamp() {
  struct timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  // gmtime_r(3) would read the time zone's file.
  std::chrono::sys_seconds time{std::chrono::seconds(now.tv_sec)};
  auto day = std::chrono::floor<std::chrono::days>(time);
  std::chrono::year_month_day date(day);
  std::chrono::hh_mm_ss clock(time - day);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02ld:%02ld:%02ld.%09ldZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<long>(clock.hours().count()), static_cast<long>(clock.minutes().count()),
                static_cast<long>(clock.seconds().count()), now.tv_nsec);
  return text;
}

}  // namespace gantry::runtime
