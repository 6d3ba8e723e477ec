#include "create.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "console.h"
#include "credentials.h"
#include "errno_text.h"
#include "gantry/error.h"
#include "hooks.h"
#include "idmap.h"
#include "init.h"
#include "log.h"
#include "sysctl.h"

namespace gantry::runtime {
namespace {

std::string real_path(const std::string& path, const char* what) {
  char* resolved = ::realpath(path.c_str(), nullptr);
  if (!resolved) throw_errno(std::string("open ") + what, path);
  std::string text = resolved;
  ::free(resolved);
  return text;
}

/// Undoes what create_container has done so far, latest first, unless it succeeds.
class Rollback {
 public:
  explicit Rollback(const StateRoot& root) : root_(root) {}
  ~Rollback() {
    if (done_) return;
    if (init_) *init_ = Child();
    if (cgroups_) {
      attempt([&] { cgroups_->kill_all(std::chrono::seconds(10)); });
      attempt([&] { cgroups_->remove(); });
    }
    if (!id_.empty()) attempt([&] { root_.remove(id_); });
  }
  void reserved(const std::string& id) { id_ = id; }
  void has_cgroups(const Cgroups& cgroups) { cgroups_ = &cgroups; }
  void has_init(Child& init) { init_ = &init; }
  void succeeded() { done_ = true; }

 private:
  template <typename Step>
  void attempt(Step step) noexcept {
    try {
      step();
    } catch (const std::exception& e) {
      log_warning(describe(e));
    }
  }
  const StateRoot& root_;
  std::string id_;
  const Cgroups* cgroups_ = nullptr;
  Child* init_ = nullptr;
  bool done_ = false;
};

void make_fifo(const std::string& path, const Spec& spec, UniqueFd& fd) {
  mode_t old = ::umask(0);
  int r = ::mkfifo(path.c_str(), 0622);
  ::umask(old);
  if (r != 0) throw_errno("mkfifo", path);
  // Root of the user namespace has to open it for writing.
  if (!spec.uid_mappings.empty() && ::chown(path.c_str(), spec.uid_mappings[0].host_id, spec.gid_mappings[0].host_id)) {
    throw_errno("chown", path);
  }
  fd.reset(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
}

/// Opens what is joined by path and returns the flags of what is made new.
int prepare_namespaces(Plan& plan) {
  int fresh = plan.spec.new_namespaces();
  UniqueFd pid_namespace;
  for (const auto& ns : plan.spec.namespaces) {
    if (ns.path.empty()) continue;
    if (ns.flag == CLONE_NEWNS) throw InvalidInput("joining a mount namespace at create is not implemented");
    UniqueFd fd = open_namespace(ns.path, ns.flag);
    if (ns.flag == CLONE_NEWPID) {
      // Takes effect for our children only, so no process has to be put in between.
      if (::setns(fd.get(), CLONE_NEWPID) != 0) throw_errno("join pid namespace", ns.path);
    } else {
      // The user namespace first: it gives the rights over the others.
      plan.join.emplace(ns.flag == CLONE_NEWUSER ? plan.join.begin() : plan.join.end(), ns.flag, std::move(fd));
    }
  }
  plan.new_cgroup_namespace = fresh & CLONE_NEWCGROUP;
  plan.new_user_namespace = fresh & CLONE_NEWUSER;
  plan.new_network_namespace = fresh & CLONE_NEWNET;
  if (fresh & CLONE_NEWTIME) {
    // Its clocks can be set until the first process is in it, so it is made for our children and set by us.
    if (::unshare(CLONE_NEWTIME) != 0) throw_errno("unshare the time namespace");
    std::string offsets;
    for (const auto& offset : plan.spec.time_offsets) {
      offsets += offset.clock + " " + std::to_string(offset.seconds) + " " + std::to_string(offset.nanoseconds) + "\n";
    }
    if (!offsets.empty()) plan.proc.write("self/timens_offsets", offsets);
  }
  return fresh & ~(CLONE_NEWCGROUP | CLONE_NEWTIME);
}

std::string owner_name() { return ::geteuid() == 0 ? "root" : std::to_string(::geteuid()); }

}  // namespace

UniqueFd open_namespace(const std::string& path, int flag) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) throw_errno("open namespace", path);
  int type = ::ioctl(fd.get(), NS_GET_NSTYPE);
  if (type < 0) throw InvalidInput(path + " is not a namespace");
  if (type != flag) throw InvalidInput(path + " is a namespace of another kind");
  return fd;
}

void write_pid_file(const std::string& path, pid_t pid) {
  auto slash = path.rfind('/');
  std::string temporary =
      slash == std::string::npos ? "." + path : path.substr(0, slash + 1) + "." + path.substr(slash + 1);
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) throw_errno("create", temporary);
  std::string text = std::to_string(pid);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::rename(temporary.c_str(), path.c_str()) != 0) {
    int err = errno;
    ::unlink(temporary.c_str());
    throw SysError(err, "write", path);
  }
}

void pass_listen_fds(Plan& plan) {
  const char* count = ::getenv("LISTEN_FDS");
  if (!count) return;
  int n = std::atoi(count);
  if (n <= 0) return;
  plan.process.env.push_back("LISTEN_FDS=" + std::to_string(n));
  plan.process.env.push_back("LISTEN_PID=1");
  plan.preserve_fds += n;
}

void prepare_process(Plan& plan, const Context& context, const std::string& console_socket,
                     const std::function<UniqueFd()>& make_console) {
  if (plan.process.terminal && console_socket.empty() && !make_console) {
    throw InvalidInput("cannot allocate tty if the runtime will detach without setting console socket");
  }
  if (!plan.process.terminal && !console_socket.empty()) {
    throw InvalidInput("cannot use console socket if the runtime will not detach or allocate tty");
  }
  check_labels(plan.process);
  std::vector<std::string> unknown;
  if (plan.process.capabilities) plan.capabilities = capability_masks(*plan.process.capabilities, unknown);
  for (const auto& name : unknown) log_warning("ignoring unknown or unavailable capability " + name);
  if (!plan.spec.seccomp.empty()) plan.seccomp = load_seccomp_filter(plan.spec.seccomp, context.seccomp);
  if (plan.process.terminal) {
    plan.console_socket = console_socket.empty() ? make_console() : connect_console_socket(console_socket);
  }
}

Created create_container(const Context& context, const std::string& id, CreateOptions options) {
  check_id(id);
  auto [ours, theirs] = Sync::pair();
  Plan plan(ProcHandle::host(), std::move(theirs));
  Created created{{}, {}, {}, std::move(ours)};
  State& state = created.state;
  plan.bundle = real_path(options.bundle.empty() ? "." : options.bundle, "bundle");
  try {
    state.config = read_file(plan.bundle + "/config.json");
  } catch (const SysError& e) {
    if (e.err() == ENOENT) throw InvalidInput("JSON specification file " + plan.bundle + "/config.json not found");
    throw;
  }
  plan.spec = parse_spec(state.config);
  if (!plan.spec.process) throw InvalidInput("config.json.process: missing");
  plan.process = *plan.spec.process;
  check_sysctls(plan.spec);
  plan.id = id;
  plan.no_pivot = options.no_pivot;
  plan.no_new_keyring = options.no_new_keyring;
  plan.preserve_fds = options.preserve_fds;
  plan.rootfs = real_path(plan.spec.root_path[0] == '/' ? plan.spec.root_path : plan.bundle + "/" + plan.spec.root_path,
                          "rootfs");
  if (plan.rootfs == "/") throw InvalidInput("the rootfs must not be /");
  prepare_process(plan, context, options.console_socket, options.make_console);
  pass_listen_fds(plan);

  state.id = id;
  state.oci_version = plan.spec.oci_version;
  state.bundle = plan.bundle;
  state.rootfs = plan.rootfs;
  state.created = timestamp();
  state.owner = owner_name();
  state.boot_id = boot_id();
  Cgroups cgroups = Cgroups::locate(plan.spec.cgroups_path, id);
  state.cgroup_v2 = cgroups.v2();
  state.cgroups = cgroups.dirs();

  Rollback rollback(context.root);
  UniqueFd lock = context.root.reserve(id);
  rollback.reserved(id);
  // Before they are recorded: what is recorded is killed by `delete --force`.
  cgroups.refuse_if_used();
  // Recorded before they exist, so that `delete --force` finds them if we do not live to the end.
  std::string config = std::exchange(state.config, "");
  context.root.announce(state);
  state.config = std::move(config);
  if (!options.direct) make_fifo(context.root.folder(id) + "/exec.fifo", plan.spec, plan.fifo);
  plan.wait_for_go = options.direct;
  plan.hook_state = state_document(state, "creating", false);

  cgroups.create();
  rollback.has_cgroups(cgroups);
  cgroups.apply(plan.spec.resources);
  plan.cgroup_tasks = cgroups.open_tasks();
  plan.cgroups = cgroups.dirs();
  plan.cgroup_v2 = cgroups.v2();
  UniqueFd unified = cgroups.open_unified();

  plan.mapped_mounts = map_mounts(plan);
  // Ours as well, since a pid namespace may be shared with a hostile neighbour.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  int flags = prepare_namespaces(plan);
  bool in_user_namespace = !plan.join.empty() && plan.join.front().first == CLONE_NEWUSER;
  auto start = in_user_namespace ? spawn_in_user_namespace : spawn;
  plan.not_for_init = {created.sync.get(), lock.get()};
  if (unified) plan.not_for_init.push_back(unified.get());
  created.init = start(plan, flags, unified.get(), container_init);
  rollback.has_init(created.init);
  plan.sync.close();

  if (plan.process.oom_score_adj) set_oom_score_adj(plan.proc, created.init.pid(), *plan.process.oom_score_adj);
  state.pid = created.init.pid();
  if (auto info = process_info(state.pid)) state.start_time = info->start_time;
  context.root.save(state);
  await_ready(created.sync, created.init, plan, [&] {
    std::string document = state_document(state, "creating", false);
    run_hooks(plan.spec.hooks.prestart, "prestart", document);
    run_hooks(plan.spec.hooks.create_runtime, "createRuntime", document);
  });
  cgroups.apply_cpu_quota(plan.spec.resources);
  if (!options.pid_file.empty()) write_pid_file(options.pid_file, state.pid);
  rollback.succeeded();
  created.spec = std::move(plan.spec);
  return created;
}

void destroy_container(const Context& context, const State& state) {
  Cgroups cgroups = state.cgroup_dirs();
  if (!cgroups.kill_all(std::chrono::seconds(10))) {
    throw InvalidInput("processes of the container do not end: " + state.id);
  }
  cgroups.remove();
  context.root.remove(state.id);
  if (state.config.empty()) return;
  Spec spec = parse_spec(state.config);
  if (spec.hooks.poststop.empty()) return;
  try {
    run_hooks(spec.hooks.poststop, "poststop", state_document(state, "stopped", false));
  } catch (const std::exception& e) {
    log_warning(describe(e));
  }
}

}  // namespace gantry::runtime
