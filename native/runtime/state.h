#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cgroup.h"
#include "gantry/fd.h"
#include "systemd.h"

namespace gantry::runtime {

enum class Status { kCreated, kRunning, kPaused, kStopped };
const char* status_name(Status status);

/// What is kept of a container in `ROOT/ID/state.json`, replaced atomically.
struct State {
  std::string id;
  std::string oci_version;
  /// 0 until the process exists.
  pid_t pid = 0;
  /// Field 22 of /proc/PID/stat: with the boot id it tells this process from a later one of the same number.
  std::uint64_t start_time = 0;
  std::string boot_id;
  std::string bundle;
  std::string rootfs;
  /// RFC 3339.
  std::string created;
  std::string owner;
  bool cgroup_v2 = false;
  std::vector<CgroupDir> cgroups;
  /// The unit that the cgroup is.
  std::optional<SystemdUnit> systemd_unit;
  /// It has the session keyring of whoever created it.
  bool no_new_keyring = false;
  /// What the first process got as standard streams: see name_standard_streams().
  std::vector<std::string> streams;
  /// config.json as it was at create.
  std::string config;

  Cgroups cgroup_dirs() const { return Cgroups(cgroups, cgroup_v2); }
};

/// The folder of all containers.
class StateRoot {
 public:
  explicit StateRoot(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }
  std::string folder(const std::string& id) const { return path_ + "/" + id; }
  /// Makes the folder of a new container and locks it; throws when the id is taken. Whoever creates holds the lock
  /// until the end, and loses it by dying, so a deletion never meets a creation half-way.
  UniqueFd reserve(const std::string& id) const;
  /// Locks the folder of a container that is there, waiting up to `limit` for whoever creates or deletes it. Throws
  /// NoSuchContainer when there is none, or none any more.
  UniqueFd lock(const std::string& id, std::chrono::milliseconds limit) const;
  /// Records what is about to be made, without the configuration, so that it is found again if we do not live on.
  void announce(const State& state) const;
  void save(const State& state) const;
  /// Throws NoSuchContainer, or InvalidInput for a damaged file.
  State load(const std::string& id) const;
  std::vector<std::string> ids() const;
  void remove(const std::string& id) const;

 private:
  static void write_file(const std::string& path, const std::string& text);
  std::string path_;
};

class NoSuchContainer : public std::runtime_error {
 public:
  NoSuchContainer() : std::runtime_error("container does not exist") {}
};

/// Letters, digits, and `_+-.`, as runc; throws InvalidInput otherwise.
void check_id(const std::string& id);

/// What the kernel knows of a process.
struct ProcessInfo {
  char state = 'X';
  std::uint64_t start_time = 0;
  std::string name;
};
std::optional<ProcessInfo> process_info(pid_t pid);
std::string boot_id();

/// The name that init bears until it becomes the container's program.
inline constexpr char kInitName[] = "gantry:init";

Status status_of(const StateRoot& root, const State& state);
/// A pidfd of the container's first process; invalid when that is gone.
UniqueFd open_init(const State& state);

/// The specification's state document, as given to hooks and printed by `state`.
std::string state_document(const State& state, const std::string& status, bool runc_fields);

/// Now, as RFC 3339 with nanoseconds, UTC.
std::string timestamp();

}  // namespace gantry::runtime
