#include "spec.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>

#include "gantry/error.h"
#include "gantry/fd.h"

namespace gantry::runtime {
namespace {

struct ResourceName {
  const char* name;
  int resource;
};
constexpr ResourceName kResources[] = {
    {"RLIMIT_CPU", RLIMIT_CPU},           {"RLIMIT_FSIZE", RLIMIT_FSIZE},
    {"RLIMIT_DATA", RLIMIT_DATA},         {"RLIMIT_STACK", RLIMIT_STACK},
    {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_NOFILE", RLIMIT_NOFILE},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},   {"RLIMIT_AS", RLIMIT_AS},
    {"RLIMIT_LOCKS", RLIMIT_LOCKS},       {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},     {"RLIMIT_RTTIME", RLIMIT_RTTIME},
};

Rlimit parse_rlimit(const Json& json) {
  Rlimit limit;
  limit.name = json["type"].string();
  limit.soft = json["soft"].uint64();
  limit.hard = json["hard"].uint64();
  for (const auto& known : kResources) {
    if (limit.name == known.name) {
      limit.resource = known.resource;
      return limit;
    }
  }
  throw InvalidInput(json.path() + ".type: invalid rlimit type: " + limit.name);
}

Capabilities parse_capabilities(const Json& json) {
  return {json["bounding"].strings(), json["effective"].strings(), json["inheritable"].strings(),
          json["permitted"].strings(), json["ambient"].strings()};
}

int parse_io_priority(const Json& json) {
  std::string name = json["class"].string();
  int io_class = name == "IOPRIO_CLASS_RT" ? 1 : name == "IOPRIO_CLASS_BE" ? 2 : name == "IOPRIO_CLASS_IDLE" ? 3 : -1;
  if (io_class < 0) throw InvalidInput(json.path() + ".class: invalid io priority class: " + name);
  auto priority = json["priority"].int64_if().value_or(0);
  if (priority < 0 || priority > 7) json["priority"].refuse("0 to 7");
  return io_class << 13 | static_cast<int>(priority);
}

Scheduler parse_scheduler(const Json& json) {
  static constexpr struct {
    const char* name;
    std::uint32_t value;
  } policies[] = {{"SCHED_OTHER", 0}, {"SCHED_FIFO", 1}, {"SCHED_RR", 2},      {"SCHED_BATCH", 3},
                  {"SCHED_ISO", 4},   {"SCHED_IDLE", 5}, {"SCHED_DEADLINE", 6}};
  static constexpr struct {
    const char* name;
    std::uint64_t value;
  } flags[] = {{"SCHED_FLAG_RESET_ON_FORK", 1},  {"SCHED_FLAG_RECLAIM", 2},      {"SCHED_FLAG_DL_OVERRUN", 4},
               {"SCHED_FLAG_KEEP_POLICY", 8},    {"SCHED_FLAG_KEEP_PARAMS", 16}, {"SCHED_FLAG_UTIL_CLAMP_MIN", 32},
               {"SCHED_FLAG_UTIL_CLAMP_MAX", 64}};
  auto find = [](const auto& known, const Json& wanted) {
    std::string name = wanted.string();
    for (const auto& one : known) {
      if (name == one.name) return one.value;
    }
    throw InvalidInput(wanted.path() + ": unknown value " + name);
  };
  Scheduler s;
  s.policy = find(policies, json["policy"]);
  json["flags"].each([&](const Json& flag) { s.flags |= find(flags, flag); });
  s.nice = static_cast<std::int32_t>(json["nice"].int64_if().value_or(0));
  s.priority = static_cast<std::uint32_t>(json["priority"].int64_if().value_or(0));
  s.runtime = json["runtime"].uint64_if().value_or(0);
  s.deadline = json["deadline"].uint64_if().value_or(0);
  s.period = json["period"].uint64_if().value_or(0);
  return s;
}

std::vector<Hook> parse_hooks(const Json& json) {
  std::vector<Hook> all;
  json.each([&](const Json& hook) {
    Hook h{hook["path"].string(), hook["args"].strings(), hook["env"].strings(), hook["timeout"].int64_if()};
    if (h.path.empty() || h.path[0] != '/') hook["path"].refuse("an absolute path");
    if (h.timeout && *h.timeout <= 0) hook["timeout"].refuse("more than 0 seconds");
    all.push_back(std::move(h));
  });
  return all;
}

}  // namespace

std::optional<std::vector<unsigned>> expand_number_list(std::string_view text) {
  std::vector<unsigned> all;
  const char* at = text.data();
  const char* end = at + text.size();
  auto number = [&](unsigned& n) {
    auto [next, err] = std::from_chars(at, end, n);
    at = next;
    return err == std::errc() && n < kMaxProcessors;
  };
  while (!text.empty()) {
    unsigned first = 0;
    if (!number(first)) return std::nullopt;
    unsigned last = first;
    if (at != end && *at == '-') {
      ++at;
      if (!number(last)) return std::nullopt;
    }
    if (last < first) return std::nullopt;
    for (unsigned n = first; n <= last; ++n) all.push_back(n);
    if (at == end) break;
    if (*at++ != ',') return std::nullopt;
  }
  return all;
}

std::vector<unsigned> parse_number_list(const Json& json) {
  if (!json.present()) return {};
  auto numbers = expand_number_list(json.string());
  if (!numbers) json.refuse("a list of numbers such as \"0-3,7\"");
  return *std::move(numbers);
}

Process parse_process(const Json& json) {
  Process p;
  p.terminal = json["terminal"].boolean_or(false);
  if (auto size = json["consoleSize"]; size.present()) {
    auto height = size["height"].uint32_if().value_or(0), width = size["width"].uint32_if().value_or(0);
    if (height > 0xffff || width > 0xffff) size.refuse("a size below 65536");
    if (height && width) p.console_size = {static_cast<std::uint16_t>(height), static_cast<std::uint16_t>(width)};
  }
  auto user = json["user"];
  p.uid = user["uid"].uint32_if().value_or(0);
  p.gid = user["gid"].uint32_if().value_or(0);
  // -1 means "leave as it is" to setresuid(2) and friends: the process would stay root.
  if (p.uid == static_cast<uid_t>(-1)) user["uid"].refuse("a valid user id");
  if (p.gid == static_cast<gid_t>(-1)) user["gid"].refuse("a valid group id");
  if (auto mask = user["umask"].uint32_if()) {
    if (*mask > 0777) user["umask"].refuse("0 to 0777");
    p.umask = *mask;
  }
  user["additionalGids"].each([&](const Json& gid) { p.additional_gids.push_back(gid.uint32()); });
  p.args = json["args"].strings();
  if (p.args.empty()) throw InvalidInput("args must not be empty");
  p.env = json["env"].strings();
  for (std::size_t i = 0; i < p.env.size(); ++i) {
    auto equals = p.env[i].find('=');
    if (equals == std::string::npos || equals == 0) {
      throw InvalidInput(json.path() + ".env[" + std::to_string(i) + "]: invalid environment variable: \"" + p.env[i] +
                         "\"");
    }
  }
  p.cwd = json["cwd"].string_or("");
  if (p.cwd.empty() || p.cwd[0] != '/') throw InvalidInput("cwd must be an absolute path");
  if (auto caps = json["capabilities"]; caps.present()) p.capabilities = parse_capabilities(caps);
  json["rlimits"].each([&](const Json& limit) {
    p.rlimits.push_back(parse_rlimit(limit));
    for (std::size_t i = 0; i + 1 < p.rlimits.size(); ++i) {
      if (p.rlimits[i].resource == p.rlimits.back().resource) limit.refuse("each rlimit type once");
    }
  });
  p.no_new_privileges = json["noNewPrivileges"].boolean_or(false);
  if (auto adj = json["oomScoreAdj"].int64_if()) {
    if (*adj < -1000 || *adj > 1000) json["oomScoreAdj"].refuse("-1000 to 1000");
    p.oom_score_adj = static_cast<int>(*adj);
  }
  p.apparmor_profile = json["apparmorProfile"].string_or("");
  p.selinux_label = json["selinuxLabel"].string_or("");
  if (auto io = json["ioPriority"]; io.present()) p.io_priority = parse_io_priority(io);
  if (auto scheduler = json["scheduler"]; scheduler.present()) p.scheduler = parse_scheduler(scheduler);
  p.affinity_initial = parse_number_list(json["execCPUAffinity"]["initial"]);
  p.affinity_final = parse_number_list(json["execCPUAffinity"]["final"]);
  return p;
}

Spec parse_spec(std::string_view text) {
  JsonDocument document(std::string(text), "config.json");
  Json json = document.root();
  Spec spec;
  spec.oci_version = json["ociVersion"].string_or("");
  if (spec.oci_version.rfind("1.", 0) != 0) json["ociVersion"].refuse("a version 1");
  auto root = json["root"];
  spec.root_path = root["path"].string();
  if (spec.root_path.empty()) root["path"].refuse("a path");
  spec.root_readonly = root["readonly"].boolean_or(false);
  spec.hostname = json["hostname"].string_or("");
  spec.domainname = json["domainname"].string_or("");
  if (json["process"].present()) spec.process = parse_process(json["process"]);
  json["mounts"].each([&](const Json& mount) {
    MountSpec m{mount["destination"].string(),
                mount["type"].string_or(""),
                mount["source"].string_or(""),
                mount["options"].strings(),
                {},
                {}};
    if (m.destination.empty()) mount["destination"].refuse("a path");
    // Relative destinations are against the specification but in the wild; they mean the root.
    if (m.destination[0] != '/') m.destination.insert(0, "/");
    m.uid_mappings = parse_mappings(mount["uidMappings"]);
    m.gid_mappings = parse_mappings(mount["gidMappings"]);
    if (m.uid_mappings.empty() != m.gid_mappings.empty()) mount.refuse("both uidMappings and gidMappings");
    spec.mounts.push_back(std::move(m));
  });
  auto hooks = json["hooks"];
  spec.hooks = {parse_hooks(hooks["prestart"]),        parse_hooks(hooks["createRuntime"]),
                parse_hooks(hooks["createContainer"]), parse_hooks(hooks["startContainer"]),
                parse_hooks(hooks["poststart"]),       parse_hooks(hooks["poststop"])};
  spec.annotations = json["annotations"].string_map();
  if (!json["linux"].present()) json["linux"].refuse("an object");
  parse_linux(json["linux"], spec);

  if (!spec.find_namespace(CLONE_NEWNS)) throw InvalidInput("a container needs a mount namespace of its own");
  if (!spec.hostname.empty() && !spec.find_namespace(CLONE_NEWUTS)) {
    throw InvalidInput("unable to set hostname without a private UTS namespace");
  }
  if (!spec.domainname.empty() && !spec.find_namespace(CLONE_NEWUTS)) {
    throw InvalidInput("unable to set domainname without a private UTS namespace");
  }
  return spec;
}

int Spec::new_namespaces() const {
  int flags = 0;
  for (const auto& ns : namespaces) {
    if (ns.path.empty()) flags |= ns.flag;
  }
  return flags;
}

const NamespaceSpec* Spec::find_namespace(int flag) const {
  for (const auto& ns : namespaces) {
    if (ns.flag == flag) return &ns;
  }
  return nullptr;
}

std::string read_file(const std::string& path, std::size_t limit) {
  auto text = try_read_file(path, limit);
  if (!text) throw_errno("open", path);
  return std::move(*text);
}

std::optional<std::string> try_read_file(const std::string& path, std::size_t limit) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw_errno("open", path);
  }
  std::string text;
  struct stat st;
  if (::fstat(fd.get(), &st) == 0 && st.st_size > 0) text.reserve(static_cast<std::size_t>(st.st_size) + 1);
  char chunk[16384];
  for (;;) {
    ssize_t n = ::read(fd.get(), chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("read", path);
    if (n == 0) return text;
    if (text.size() + static_cast<std::size_t>(n) > limit) {
      throw InvalidInput(path + ": larger than " + std::to_string(limit) + " bytes");
    }
    text.append(chunk, static_cast<std::size_t>(n));
  }
}

}  // namespace gantry::runtime
