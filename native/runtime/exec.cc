#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>

#include "commands.h"
#include "credentials.h"
#include "foreground.h"
#include "gantry/error.h"
#include "handover.h"
#include "init.h"
#include "log.h"
#include "namespaces.h"

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
    JsonDocument document(read_file(path), "process");
    return parse_process(document.root());
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

/// Where the first process is now, for when the container's own v2 cgroup has been divided up from within and takes no
/// processes itself.
UniqueFd cgroup_of(const ProcHandle& proc, pid_t pid) {
  std::string text = proc.read(std::to_string(pid) + "/cgroup");
  auto start = text.find("0::");
  if (start == std::string::npos) return UniqueFd();
  std::string path = text.substr(start + 3, text.find('\n', start) - start - 3);
  return UniqueFd(::open(("/sys/fs/cgroup" + path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

/// Whether the process has executed a program since it was cloned: flag PF_FORKNOEXEC, field 9 of its stat.
bool has_executed(const ProcHandle& proc, pid_t pid) {
  constexpr unsigned long kForkNoExec = 0x40;
  std::string stat = proc.read(std::to_string(pid) + "/stat");
  // The name, in brackets, may hold anything.
  auto at = stat.rfind(')');
  unsigned long flags = kForkNoExec;
  if (at == std::string::npos || std::sscanf(stat.c_str() + at, ") %*c %*d %*d %*d %*d %*d %lu", &flags) != 1) {
    return false;
  }
  return !(flags & kForkNoExec);
}

/// The process that the one in between made, about to execute the program.
Child take_last(const Plan& plan, const Sync& sync, Child& between, bool ready) {
  Child last = plan.handover->last(between);
  if (!ready && !await_ready(sync, last, plan, {})) throw StartError("container init ended during its set-up");
  // Here, because a scheduler with deadlines allows no clone.
  set_scheduler(plan.process, last.pid());
  sync.send(SyncType::kGo);
  return last;
}

/// Waits until the process has become the program, and throws why it could not.
void await_exec(const ProcHandle& proc, const Sync& sync, const Child& child) {
  // The socket closes with a successful exec; anything else that comes is why there was none. But somebody in the
  // container could have taken a copy, so from time to time we look for ourselves.
  for (;;) {
    struct pollfd wait[2] = {{sync.get(), POLLIN, 0}, {child.pidfd(), POLLIN, 0}};
    int n = ::poll(wait, 2, 1000);
    if (n < 0 && errno != EINTR) throw_errno("poll");
    if (n > 0 && wait[0].revents) {
      SyncMessage message = sync.receive();
      if (message.type == SyncType::kError || message.type == SyncType::kFailed) throw StartError(message.error());
      return;
    }
    if (n > 0 || has_executed(proc, child.pid())) return;
  }
}

}  // namespace

int exec_command(const Context& context, const CommandLine& line) {
  Handover handover;
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
  plan.further = true;
  plan.no_new_keyring = state.no_new_keyring;
  plan.preserve_fds = line.number("preserve-fds", 0);
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

  auto below = line.values("cgroup");
  Cgroups cgroups = state.cgroup_dirs().below(below);
  plan.cgroup_tasks = cgroups.open_tasks();
  plan.cgroups = cgroups.dirs();
  UniqueFd unified = cgroups.open_unified();

  set_affinity(plan.process.affinity_initial);
  plan.rootless = context.rootless;
  if (!plan.rootless) ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  UniqueFd init = open_init(state);
  if (!init) throw InvalidInput("cannot exec in a stopped container");
  prepare_namespaces_of(plan, state.pid);
  if (const auto* ns = plan.spec.find_namespace(CLONE_NEWNS); !ns->path.empty()) {
    UniqueFd dir = plan.proc.open(std::to_string(state.pid), O_PATH | O_DIRECTORY);
    plan.root.reset(::openat(dir.get(), "root", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!plan.root) throw_errno("open the root of process", std::to_string(state.pid));
  }
  // Still the same process, so these were its namespaces.
  if (::syscall(SYS_pidfd_send_signal, init.get(), 0, nullptr, 0) != 0) {
    throw InvalidInput("cannot exec in a stopped container");
  }
  plan.not_for_init = {ours.get(), init.get()};
  if (unified) plan.not_for_init.push_back(unified.get());
  plan.handover = can_hand_over(plan) ? &handover : nullptr;
  Child child;
  // With rights over the host the other namespaces are joined by init itself; without, the user namespace has to give
  // them first.
  auto spawn = plan.rootless && plan.joins_user_namespace() ? spawn_in_user_namespace : runtime::spawn;
  auto body = plan.handover ? exec_between : exec_init;
  try {
    child = spawn(plan, 0, unified.get(), body);
  } catch (const SysError& e) {
    if (!cgroups.v2() || e.err() != EBUSY || !below.empty()) throw;
    UniqueFd inner = cgroup_of(plan.proc, state.pid);
    if (!inner) throw;
    plan.not_for_init.push_back(inner.get());
    child = spawn(plan, 0, inner.get(), body);
  }
  plan.sync.close();
  if (!plan.handover) set_oom_score_adj(plan, child.pid());
  Answers answers;
  answers.listener = [&](UniqueFd listener) {
    send_listener(plan, std::move(listener), child.pid(), state_document(state, status_name(status), false));
  };
  try {
    bool ready = await_ready(ours, child, plan, answers);
    if (plan.handover) child = take_last(plan, ours, child, ready);
  } catch (...) {
    if (plan.handover) handover.end_last(child);
    throw;
  }
  await_exec(plan.proc, ours, child);
  if (std::string path = line.value("pidfd-socket"); !path.empty()) send_pidfd(path, child.pidfd());
  if (std::string path = line.value("pid-file"); !path.empty()) write_pid_file(path, child.pid());
  if (detach) {
    child.release();
    return 0;
  }
  return foreground->wait(child);
}

}  // namespace gantry::runtime
