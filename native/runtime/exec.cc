#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>

#include "commands.h"
#include "credentials.h"
#include "foreground.h"
#include "gantry/error.h"
#include "init.h"
#include "log.h"

namespace gantry::runtime {
namespace {

std::uint32_t parse_id(const std::string& text) {
  std::uint32_t id = 0;
  auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (text.empty() || err != std::errc() || end != text.data() + text.size() || id == ~0u) {
    throw UsageError("invalid user or group id \"" + text + "\"");
  }
  return id;
}

/// The process to run: --process whole, or the container's own with what the flags change.
Process requested_process(const CommandLine& line, const Spec& spec) {
  if (std::string path = line.value("process"); !path.empty()) {
    auto document = parse_json(read_file(path), "process");
    return parse_process(Json(&document, "process"));
  }
  if (line.arguments().size() < 2) throw UsageError("process args cannot be empty");
  if (!spec.process) throw InvalidInput("config.json.process: missing");
  Process process = *spec.process;
  process.args.assign(line.arguments().begin() + 1, line.arguments().end());
  process.terminal = line.has("tty");
  process.console_size.reset();
  if (line.has("cwd")) process.cwd = line.value("cwd");
  if (process.cwd.empty() || process.cwd[0] != '/') throw InvalidInput("cwd must be an absolute path");
  for (const auto& pair : line.values("env")) process.env.push_back(pair);
  if (line.has("process-label")) process.selinux_label = line.value("process-label");
  if (line.has("apparmor")) process.apparmor_profile = line.value("apparmor");
  if (line.has("no-new-privs")) process.no_new_privileges = true;
  if (auto caps = line.values("cap"); !caps.empty()) {
    if (!process.capabilities) process.capabilities.emplace();
    for (const auto& cap : caps) {
      for (auto* set :
           {&process.capabilities->bounding, &process.capabilities->effective, &process.capabilities->permitted}) {
        set->push_back(cap);
      }
    }
  }
  if (std::string user = line.value("user"); !user.empty()) {
    auto colon = user.find(':');
    process.uid = parse_id(user.substr(0, colon));
    process.gid = colon == std::string::npos ? process.gid : parse_id(user.substr(colon + 1));
  }
  for (const auto& gid : line.values("additional-gids")) process.additional_gids.push_back(parse_id(gid));
  return process;
}

/// Opens the namespaces of the container's first process that are not ours already.
void prepare_namespaces(Plan& plan, const ProcHandle& proc, pid_t pid) {
  static constexpr struct {
    const char* name;
    int flag;
  } kinds[] = {
      // The user namespace first: it gives the rights over the others. The mount namespace last: it changes what paths
      // are.
      {"user", CLONE_NEWUSER}, {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},       {"net", CLONE_NEWNET},
      {"pid", CLONE_NEWPID},   {"time", CLONE_NEWTIME}, {"cgroup", CLONE_NEWCGROUP}, {"mnt", CLONE_NEWNS},
  };
  UniqueFd theirs = proc.open(std::to_string(pid) + "/ns", O_RDONLY | O_DIRECTORY);
  UniqueFd ours = proc.open("self/ns", O_RDONLY | O_DIRECTORY);
  for (const auto& kind : kinds) {
    struct stat a, b;
    if (::fstatat(theirs.get(), kind.name, &a, 0) != 0) {
      if (errno == ENOENT) continue;
      throw_errno("stat namespace", kind.name);
    }
    if (::fstatat(ours.get(), kind.name, &b, 0) == 0 && a.st_ino == b.st_ino) continue;
    UniqueFd fd(::openat(theirs.get(), kind.name, O_RDONLY | O_CLOEXEC));
    if (!fd) throw_errno("open namespace", kind.name);
    if (kind.flag == CLONE_NEWUSER) plan.new_user_namespace = true;
    plan.join.emplace_back(kind.flag, std::move(fd));
  }
}

/// The pid namespace works on children: we join it ourselves and the process is born in it.
void join_pid_namespace(Plan& plan) {
  for (auto it = plan.join.begin(); it != plan.join.end(); ++it) {
    if (it->first != CLONE_NEWPID) continue;
    if (::setns(it->second.get(), CLONE_NEWPID) != 0) throw_errno("join pid namespace");
    plan.join.erase(it);
    return;
  }
}

/// Where the first process is now, for when the container's own v2 cgroup has been divided up from within and takes no
/// processes itself.
UniqueFd cgroup_of(const ProcHandle& proc, pid_t pid) {
  std::string text = proc.read(std::to_string(pid) + "/cgroup");
  auto start = text.find("0::");
  if (start == std::string::npos) return UniqueFd();
  std::string path = text.substr(start + 3, text.find('\n', start) - start - 3);
  return UniqueFd(::open(("/sys/fs/cgroup" + path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

}  // namespace

int exec_command(const Context& context, const CommandLine& line) {
  State state = context.root.load(line.arguments()[0]);
  Status status = status_of(context.root, state);
  if (status == Status::kStopped) throw InvalidInput("cannot exec in a stopped container");
  if (status == Status::kPaused && !line.has("ignore-paused")) throw InvalidInput("cannot exec in a paused container");

  auto [ours, theirs] = Sync::pair();
  Plan plan(ProcHandle::host(), std::move(theirs));
  plan.spec = parse_spec(state.config);
  plan.process = requested_process(line, plan.spec);
  plan.id = state.id;
  plan.bundle = state.bundle;
  plan.rootfs = state.rootfs;
  // The session keyring is the container's, and only its first process makes it.
  plan.no_new_keyring = true;
  plan.preserve_fds = line.number("preserve-fds", 0);
  if (plan.preserve_fds < 0) throw UsageError("preserve-fds must not be negative");
  std::string console = line.value("console-socket");
  bool detach = line.has("detach");
  std::optional<Foreground> foreground;
  std::function<UniqueFd()> make_console;
  if (!detach) {
    foreground.emplace();
    make_console = [&] { return foreground->console(); };
  }
  prepare_process(plan, context, console, make_console);
  pass_listen_fds(plan);

  Cgroups cgroups = state.cgroup_dirs();
  plan.cgroup_tasks = cgroups.open_tasks();
  plan.cgroups = cgroups.dirs();
  UniqueFd unified = cgroups.open_unified();

  set_affinity(plan.process.affinity_initial);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  UniqueFd init = open_init(state);
  if (!init) throw InvalidInput("cannot exec in a stopped container");
  prepare_namespaces(plan, plan.proc, state.pid);
  // Still the same process, so these were its namespaces.
  if (::syscall(SYS_pidfd_send_signal, init.get(), 0, nullptr, 0) != 0) {
    throw InvalidInput("cannot exec in a stopped container");
  }
  join_pid_namespace(plan);
  plan.not_for_init = {ours.get(), init.get()};
  if (unified) plan.not_for_init.push_back(unified.get());
  Child child;
  try {
    child = spawn(plan, 0, unified.get(), exec_init);
  } catch (const SysError& e) {
    if (!cgroups.v2() || e.err() != EBUSY) throw;
    UniqueFd inner = cgroup_of(plan.proc, state.pid);
    if (!inner) throw;
    plan.not_for_init.push_back(inner.get());
    child = spawn(plan, 0, inner.get(), exec_init);
  }
  plan.sync.close();
  if (plan.process.oom_score_adj) set_oom_score_adj(plan.proc, child.pid(), *plan.process.oom_score_adj);
  await_ready(ours, child, plan, [] {});
  // The socket closes with a successful exec; anything else that comes is why there was none.
  if (SyncMessage message = ours.receive(); message.type == SyncType::kError) throw StartError(message.text);
  if (std::string path = line.value("pid-file"); !path.empty()) write_pid_file(path, child.pid());
  if (detach) {
    child.release();
    return 0;
  }
  return foreground->wait(child);
}

}  // namespace gantry::runtime
