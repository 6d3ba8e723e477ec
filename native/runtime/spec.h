#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json.h"
#include "resources.h"

namespace gantry::runtime {

/// config.json of an OCI bundle, read once. Names follow the specification; what is absent there is empty here.
struct IdMapping {
  std::uint32_t container_id = 0;
  std::uint32_t host_id = 0;
  std::uint32_t size = 0;
};

struct Rlimit {
  int resource = 0;
  std::string name;
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
};

struct Capabilities {
  std::vector<std::string> bounding, effective, inheritable, permitted, ambient;
};

/// process.scheduler, as sched_setattr(2) takes it.
struct Scheduler {
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0, deadline = 0, period = 0;
};

struct Process {
  bool terminal = false;
  /// Rows, columns.
  std::optional<std::pair<std::uint16_t, std::uint16_t>> console_size;
  uid_t uid = 0;
  gid_t gid = 0;
  std::optional<mode_t> umask;
  std::vector<gid_t> additional_gids;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string cwd;
  std::optional<Capabilities> capabilities;
  std::vector<Rlimit> rlimits;
  bool no_new_privileges = false;
  std::optional<int> oom_score_adj;
  std::string apparmor_profile;
  std::string selinux_label;
  std::optional<Scheduler> scheduler;
  /// ioprio_set(2) value.
  std::optional<int> io_priority;
  /// Processors of an exec while it joins, and of its program; empty: as they are.
  std::vector<unsigned> affinity_initial, affinity_final;
};

struct MountSpec {
  std::string destination;
  std::string type;
  std::string source;
  std::vector<std::string> options;
  std::vector<IdMapping> uid_mappings, gid_mappings;
};

struct Hook {
  std::string path;
  std::vector<std::string> args;
  std::vector<std::string> env;
  /// Seconds; absent is without end.
  std::optional<std::int64_t> timeout;
};

struct Hooks {
  std::vector<Hook> prestart, create_runtime, create_container, start_container, poststart, poststop;
};

struct NamespaceSpec {
  /// One CLONE_NEW flag.
  int flag = 0;
  /// Empty: a new one.
  std::string path;
};

struct DeviceSpec {
  std::string path;
  /// S_IFCHR, S_IFBLK or S_IFIFO with the permission bits.
  mode_t mode = 0;
  dev_t number = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct TimeOffset {
  /// "monotonic" or "boottime".
  std::string clock;
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;
};

/// linux.memoryPolicy, as set_mempolicy(2) takes it.
struct MemoryPolicy {
  /// MPOL value with the MPOL_F bits.
  int mode = 0;
  std::vector<unsigned> nodes;
};

/// Who answers for system calls with SCMP_ACT_NOTIFY.
struct SeccompListener {
  /// A unix stream socket; empty for none.
  std::string path;
  std::string metadata;
};

struct Spec {
  std::string oci_version;
  std::string root_path;
  bool root_readonly = false;
  std::string hostname;
  std::string domainname;
  std::optional<Process> process;
  std::vector<MountSpec> mounts;
  Hooks hooks;
  std::vector<std::pair<std::string, std::string>> annotations;

  std::vector<NamespaceSpec> namespaces;
  std::vector<IdMapping> uid_mappings, gid_mappings;
  std::vector<DeviceSpec> devices;
  std::vector<std::pair<std::string, std::string>> sysctl;
  std::string cgroups_path;
  Resources resources;
  /// Compact JSON of linux.seccomp without its listener; empty when there is none. Understood only when no compiled
  /// filter is kept.
  std::string seccomp;
  SeccompListener seccomp_listener;
  std::string rootfs_propagation;
  std::vector<std::string> masked_paths, readonly_paths;
  std::string mount_label;
  std::vector<TimeOffset> time_offsets;
  /// personality(2) domain.
  std::optional<unsigned long> personality;
  std::optional<MemoryPolicy> memory_policy;
  /// Network devices that move into the container: name on the host, name there.
  std::vector<std::pair<std::string, std::string>> net_devices;

  /// CLONE_NEW flags that are listed without a path.
  int new_namespaces() const;
  const NamespaceSpec* find_namespace(int flag) const;
};

/// Highest number of processors that Linux can be built for, and more.
inline constexpr unsigned kMaxProcessors = 8192;

/// Largest config.json that is read.
inline constexpr std::size_t kMaxConfigBytes = 16u << 20;

/// Throws InvalidInput naming the field.
Spec parse_spec(std::string_view text);

/// An OCI `process` object, as exec takes it.
Process parse_process(const Json& json);

/// Numbers out of a list such as "0-3,7" of processors or memory nodes; throws InvalidInput naming the field.
std::vector<unsigned> parse_number_list(const Json& json);

/// The same of plain text; nothing when it is not such a list.
std::optional<std::vector<unsigned>> expand_number_list(std::string_view text);

std::vector<IdMapping> parse_mappings(const Json& json);

/// Fields of the `linux` object, into `spec`.
void parse_linux(const Json& json, Spec& spec);

/// The whole file; throws SysError, or InvalidInput when it is larger than `limit`.
std::string read_file(const std::string& path, std::size_t limit = kMaxConfigBytes);
/// The same, or nothing when there is no such file. Where that is usual: the first exception of a static program sorts
/// all its unwind tables, which takes longer than most commands do.
std::optional<std::string> try_read_file(const std::string& path, std::size_t limit = kMaxConfigBytes);

}  // namespace gantry::runtime
