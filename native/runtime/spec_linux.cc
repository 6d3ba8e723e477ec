#include <linux/sched.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "gantry/error.h"
#include "spec.h"

namespace gantry::runtime {
namespace {

constexpr struct {
  const char* name;
  int flag;
} kNamespaces[] = {
    {"pid", CLONE_NEWPID}, {"network", CLONE_NEWNET}, {"mount", CLONE_NEWNS},      {"ipc", CLONE_NEWIPC},
    {"uts", CLONE_NEWUTS}, {"user", CLONE_NEWUSER},   {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME},
};

void parse_namespaces(const Json& json, Spec& spec) {
  json.each([&](const Json& ns) {
    std::string type = ns["type"].string();
    for (const auto& known : kNamespaces) {
      if (type != known.name) continue;
      if (spec.find_namespace(known.flag)) throw InvalidInput("duplicated ns: " + type);
      NamespaceSpec one{known.flag, ns["path"].string_or("")};
      if (!one.path.empty() && one.path[0] != '/') ns["path"].refuse("an absolute path");
      spec.namespaces.push_back(std::move(one));
      return;
    }
    throw InvalidInput(ns.path() + ".type: unknown namespace " + type);
  });
}

DeviceSpec parse_device(const Json& json) {
  DeviceSpec device;
  device.path = json["path"].string();
  if (device.path.empty() || device.path[0] != '/') json["path"].refuse("an absolute path");
  std::string type = json["type"].string();
  mode_t mode = json["fileMode"].uint32_if().value_or(0666) & 07777;
  if (type == "c" || type == "u") {
    mode |= S_IFCHR;
  } else if (type == "b") {
    mode |= S_IFBLK;
  } else if (type == "p") {
    mode |= S_IFIFO;
  } else {
    json["type"].refuse("one of b, c, u, p");
  }
  device.mode = mode;
  if (type != "p") {
    auto major = json["major"].int64_if().value_or(0), minor = json["minor"].int64_if().value_or(0);
    if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff) json.refuse("a device number");
    device.number = ::makedev(static_cast<unsigned>(major), static_cast<unsigned>(minor));
  }
  device.uid = json["uid"].uint32_if().value_or(0);
  device.gid = json["gid"].uint32_if().value_or(0);
  return device;
}

unsigned long parse_personality(const Json& json) {
  std::string domain = json["domain"].string();
  if (!json["flags"].strings().empty()) throw InvalidInput("personality flags are not supported by the specification");
  if (domain == "LINUX") return 0;
  if (domain == "LINUX32") return 8;
  throw InvalidInput(json.path() + ".domain: unknown personality domain " + domain);
}

MemoryPolicy parse_memory_policy(const Json& json) {
  // Numbers of linux/mempolicy.h, whose newer ones the build machine's header may lack.
  static constexpr struct {
    const char* name;
    int value;
  } modes[] = {{"MPOL_DEFAULT", 0},
               {"MPOL_PREFERRED", 1},
               {"MPOL_BIND", 2},
               {"MPOL_INTERLEAVE", 3},
               {"MPOL_LOCAL", 4},
               {"MPOL_PREFERRED_MANY", 5},
               {"MPOL_WEIGHTED_INTERLEAVE", 6}},
    flags[] = {
        {"MPOL_F_STATIC_NODES", 1 << 15}, {"MPOL_F_RELATIVE_NODES", 1 << 14}, {"MPOL_F_NUMA_BALANCING", 1 << 13}};
  auto find = [](const auto& known, const Json& wanted) {
    std::string name = wanted.string();
    for (const auto& one : known) {
      if (name == one.name) return one.value;
    }
    throw InvalidInput(wanted.path() + ": unknown value " + name);
  };
  MemoryPolicy policy;
  policy.mode = find(modes, json["mode"]);
  json["flags"].each([&](const Json& flag) { policy.mode |= find(flags, flag); });
  policy.nodes = parse_number_list(json["nodes"]);
  return policy;
}

void parse_seccomp(const Json& json, Spec& spec) {
  if (!json.raw()->IsObject()) json.refuse("an object");
  spec.seccomp_listener = {json["listenerPath"].string_or(""), json["listenerMetadata"].string_or("")};
  if (spec.seccomp_listener.path.empty() && !spec.seccomp_listener.metadata.empty()) {
    json["listenerMetadata"].refuse("a listenerPath beside it");
  }
  // Who listens makes no difference to the filter, which is found again by this text.
  rapidjson::Document profile;
  profile.CopyFrom(*json.raw(), profile.GetAllocator());
  profile.RemoveMember("listenerPath");
  profile.RemoveMember("listenerMetadata");
  spec.seccomp = to_text(profile);
}

}  // namespace

std::vector<IdMapping> parse_mappings(const Json& json) {
  std::vector<IdMapping> all;
  json.each([&](const Json& m) {
    all.push_back({m["containerID"].uint32_if().value_or(0), m["hostID"].uint32_if().value_or(0), m["size"].uint32()});
  });
  return all;
}

void parse_linux(const Json& json, Spec& spec) {
  parse_namespaces(json["namespaces"], spec);
  spec.uid_mappings = parse_mappings(json["uidMappings"]);
  spec.gid_mappings = parse_mappings(json["gidMappings"]);
  const auto* user = spec.find_namespace(CLONE_NEWUSER);
  bool mapped = !spec.uid_mappings.empty() || !spec.gid_mappings.empty();
  if (user && user->path.empty() && (spec.uid_mappings.empty() || spec.gid_mappings.empty())) {
    throw InvalidInput("user namespaces enabled, but no uid or gid mappings found");
  }
  if (!user && mapped) throw InvalidInput("user namespace mappings specified, but user namespace isn't enabled");

  json["devices"].each([&](const Json& device) { spec.devices.push_back(parse_device(device)); });
  spec.sysctl = json["sysctl"].string_map();
  spec.cgroups_path = json["cgroupsPath"].string_or("");
  spec.resources = parse_resources(json["resources"]);
  if (json["seccomp"].present()) parse_seccomp(json["seccomp"], spec);
  spec.rootfs_propagation = json["rootfsPropagation"].string_or("");
  spec.masked_paths = json["maskedPaths"].strings();
  spec.readonly_paths = json["readonlyPaths"].strings();
  spec.mount_label = json["mountLabel"].string_or("");
  if (json["personality"].present()) spec.personality = parse_personality(json["personality"]);
  if (json["memoryPolicy"].present()) spec.memory_policy = parse_memory_policy(json["memoryPolicy"]);
  json["timeOffsets"].each_member([&](const std::string& clock, const Json& offset) {
    if (clock != "monotonic" && clock != "boottime") throw InvalidInput(offset.path() + ": unknown clock");
    spec.time_offsets.push_back(
        {clock, offset["secs"].int64_if().value_or(0), offset["nanosecs"].uint32_if().value_or(0)});
  });
  if (!spec.time_offsets.empty() && !spec.find_namespace(CLONE_NEWTIME)) {
    throw InvalidInput("config.json.linux.timeOffsets: needs a time namespace");
  }
  json["netDevices"].each_member([&](const std::string& host_name, const Json& device) {
    std::string name = device["name"].string_or("");
    if (name.empty()) name = host_name;
    for (const auto& one : {host_name, name}) {
      // As the kernel has it, IFNAMSIZ being 16.
      if (one.empty() || one.size() >= 16 || one == "." || one == ".." ||
          one.find_first_of("/: \t\n\v\f\r") != std::string::npos) {
        throw InvalidInput(device.path() + ": invalid network device name \"" + one + "\"");
      }
    }
    spec.net_devices.emplace_back(host_name, name);
  });
  if (!spec.net_devices.empty() && !spec.find_namespace(CLONE_NEWNET)) {
    throw InvalidInput("config.json.linux.netDevices: needs a network namespace");
  }
  if (json["intelRdt"].present()) throw InvalidInput("linux.intelRdt is not implemented");
}

}  // namespace gantry::runtime
