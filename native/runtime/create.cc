#include "create.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "console.h"
#include "credentials.h"
#include "errno_text.h"
#include "gantry/error.h"
#include "hooks.h"
#include "host_mounts.h"
#include "init.h"
#include "log.h"
#include "mount_options.h"
#include "namespaces.h"
#include "net_devices.h"
#include "passed_fds.h"
#include "program.h"
#include "standard_streams.h"
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
    if (plan_) attempt([&] { detach_root(plan_->spec.find_namespace(CLONE_NEWNS)->path, plan_->rootfs); });
    if (cgroups_) {
      attempt([&] { cgroups_->kill_all(std::chrono::seconds(10)); });
      attempt([&] { cgroups_->remove(); });
    }
    if (unit_) attempt([&] { stop_unit(*unit_); });
    if (!id_.empty()) attempt([&] { root_.remove(id_); });
  }
  void reserved(const std::string& id) { id_ = id; }
  void has_unit(const SystemdUnit& unit) { unit_ = &unit; }
  void has_cgroups(const Cgroups& cgroups) { cgroups_ = &cgroups; }
  /// In a mount namespace that lives on.
  void has_root(const Plan& plan) { plan_ = &plan; }
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
  const Plan* plan_ = nullptr;
  const SystemdUnit* unit_ = nullptr;
  Child* init_ = nullptr;
  bool done_ = false;
};

void make_fifo(const std::string& path, const Spec& spec, UniqueFd& fd) {
  mode_t old = ::umask(0);
  int r = ::mkfifo(path.c_str(), 0622);
  ::umask(old);
  if (r != 0) throw_errno("mkfifo", path);
  // Root of the user namespace has to open it for writing. Who may not give it away is that root.
  if (::geteuid() == 0 && !spec.uid_mappings.empty() &&
      ::chown(path.c_str(), spec.uid_mappings[0].host_id, spec.gid_mappings[0].host_id)) {
    throw_errno("chown", path);
  }
  fd.reset(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
}

/// The user whom the container's cgroup is given to: on v2, when it has a user and a cgroup namespace of its own and
/// may write to the cgroup file system.
std::optional<uid_t> cgroup_owner(const Plan& plan) {
  if (!plan.cgroup_v2 || !plan.new_cgroup_namespace || plan.spec.uid_mappings.empty()) return std::nullopt;
  bool writable = false;
  for (const auto& mount : plan.spec.mounts) {
    if (mount.destination != "/sys/fs/cgroup" || (mount.type != "cgroup" && mount.type != "cgroup2")) continue;
    writable = !parse_mount_options(mount.options).read_only();
  }
  if (!writable) return std::nullopt;
  for (const auto& range : plan.spec.uid_mappings) {
    if (plan.process.uid >= range.container_id && plan.process.uid - range.container_id < range.size) {
      return range.host_id + (plan.process.uid - range.container_id);
    }
  }
  return std::nullopt;
}

std::string owner_name() { return ::geteuid() == 0 ? "root" : std::to_string(::geteuid()); }

}  // namespace

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

void send_pidfd(const std::string& path, int pidfd) {
  UniqueFd socket = connect_stream_socket(path, "pidfd socket");
  send_descriptor(socket.get(), "pidfd", pidfd);
}

void send_listener(const Plan& plan, UniqueFd listener, pid_t pid, const std::string& state) {
  UniqueFd agent = connect_stream_socket(plan.spec.seccomp_listener.path, "seccomp listener");
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> w(buffer);
  w.StartObject();
  w.Key("ociVersion");
  w.String(plan.spec.oci_version);
  w.Key("fds");
  w.StartArray();
  w.String("seccompFd");
  w.EndArray();
  w.Key("pid");
  w.Int(pid);
  if (!plan.spec.seccomp_listener.metadata.empty()) {
    w.Key("metadata");
    w.String(plan.spec.seccomp_listener.metadata);
  }
  w.Key("state");
  w.RawValue(state.data(), state.size(), rapidjson::kObjectType);
  w.EndObject();
  send_descriptor(agent.get(), std::string(buffer.GetString(), buffer.GetSize()), listener.get());
}

void pass_listen_fds(Plan& plan) {
  int n = listening_fds();
  if (n == 0) return;
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
  keep_last_of_each(plan.process.env);
  std::vector<std::string> unknown;
  if (plan.process.capabilities) plan.capabilities = capability_masks(*plan.process.capabilities, unknown);
  for (const auto& name : unknown) log_warning("ignoring unknown or unavailable capability " + name);
  if (!plan.spec.seccomp.empty()) plan.seccomp = load_seccomp_filter(plan.spec.seccomp, context.seccomp);
  if (plan.seccomp.notifies() && plan.spec.seccomp_listener.path.empty()) {
    throw InvalidInput("linux.seccomp.listenerPath: needed by SCMP_ACT_NOTIFY");
  }
  if (plan.process.terminal) {
    plan.console_socket =
        console_socket.empty() ? make_console() : connect_stream_socket(console_socket, "console socket");
  }
}

Cgroups read_bundle(const Context& context, const std::string& id, const std::string& bundle, Plan& plan,
                    State& state) {
  check_id(id);
  plan.id = id;
  plan.bundle = real_path(bundle.empty() ? "." : bundle, "bundle");
  try {
    state.config = read_file(plan.bundle + "/config.json");
  } catch (const SysError& e) {
    if (e.err() == ENOENT) throw InvalidInput("JSON specification file " + plan.bundle + "/config.json not found");
    throw;
  }
  plan.spec = parse_spec(state.config);
  if (!plan.spec.process) throw InvalidInput("config.json.process: missing");
  plan.process = *plan.spec.process;
  plan.rootless = context.rootless;
  plan.rootfs = real_path(plan.spec.root_path[0] == '/' ? plan.spec.root_path : plan.bundle + "/" + plan.spec.root_path,
                          "rootfs");
  if (plan.rootfs == "/") throw InvalidInput("the rootfs must not be /");

  state.id = id;
  state.oci_version = plan.spec.oci_version;
  state.bundle = plan.bundle;
  state.rootfs = plan.rootfs;
  state.created = timestamp();
  state.owner = owner_name();
  state.boot_id = boot_id();
  state.streams = name_standard_streams();
  if (context.systemd_cgroup) state.systemd_unit = parse_systemd_unit(plan.spec.cgroups_path, id, ::geteuid() != 0);
  Cgroups cgroups = state.systemd_unit
                        ? Cgroups::locate(systemd_base(*state.systemd_unit) + state.systemd_unit->cgroup_path(), id)
                        : Cgroups::locate(plan.spec.cgroups_path, id);
  state.cgroup_v2 = cgroups.v2();
  state.cgroups = cgroups.dirs();
  return cgroups;
}

Created create_container(const Context& context, const std::string& id, const CreateOptions& options) {
  auto [ours, theirs] = Sync::pair();
  Plan plan(ProcHandle::host(), std::move(theirs));
  Created created{{}, {}, {}, std::move(ours)};
  State& state = created.state;
  Cgroups cgroups = read_bundle(context, id, options.bundle, plan, state);
  check_sysctls(plan.spec);
  if (::geteuid() != 0 && !plan.spec.find_namespace(CLONE_NEWUSER)) {
    throw InvalidInput("rootless container requires user namespaces");
  }
  plan.no_pivot = options.no_pivot;
  plan.no_new_keyring = state.no_new_keyring = options.no_new_keyring;
  plan.preserve_fds = options.preserve_fds;
  prepare_process(plan, context, options.console_socket, options.make_console);
  pass_listen_fds(plan);

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
  const Hooks& hooks = plan.spec.hooks;
  if (!hooks.create_container.empty() || !hooks.start_container.empty()) {
    plan.hook_state = state_document(state, "creating", false);
  }

  log_debug("create cgroups of container " + id + " in " + cgroups.process_dir());
  // A scope lives as long as somebody is in it, and init is not there yet.
  Child tenant;
  if (state.systemd_unit) {
    tenant = spawn_idle(0);
    rollback.has_unit(*state.systemd_unit);
    start_unit(*state.systemd_unit, id, tenant.pid(), plan.spec.resources, plan.spec.annotations, cgroups.v2());
  }
  cgroups.create(context.rootless, state.systemd_unit.has_value());
  rollback.has_cgroups(cgroups);
  state.cgroups = cgroups.dirs();
  // Nodes are the host's there, and its owner says who opens them.
  if (context.rootless) plan.spec.resources.devices.clear();
  cgroups.apply(plan.spec.resources);
  plan.cgroup_tasks = cgroups.open_tasks();
  plan.cgroups = cgroups.dirs();
  plan.cgroup_v2 = cgroups.v2();
  UniqueFd unified = cgroups.open_unified();

  plan.host_mounts = make_host_mounts(plan);
  // Ours as well, since a pid namespace may be shared with a hostile neighbour. Without rights over the host it would
  // lock us out ourselves, and nobody in the new user namespace has rights over a process outside.
  if (!context.rootless) ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  int flags = prepare_new_namespaces(plan);
  auto start = plan.joins_user_namespace() ? spawn_in_user_namespace : spawn;
  plan.not_for_init = {created.sync.get(), lock.get()};
  if (unified) plan.not_for_init.push_back(unified.get());
  created.init = start(plan, flags, unified.get(), container_init);
  log_debug("init of container " + id + " is process " + std::to_string(created.init.pid()));
  rollback.has_init(created.init);
  tenant = Child();
  plan.sync.close();
  // Not before: who enters the container's user namespace on the way here has no rights over what is that one's.
  if (auto owner = cgroup_owner(plan)) cgroups.give_to(*owner);

  set_oom_score_adj(plan, created.init.pid());
  move_net_devices(plan, created.init.pid());
  state.pid = created.init.pid();
  if (auto info = process_info(state.pid)) state.start_time = info->start_time;
  context.root.save(state);
  Answers answers;
  answers.root_made = [&] { rollback.has_root(plan); };
  answers.hooks = [&] {
    std::string document = state_document(state, "creating", false);
    run_hooks(plan.spec.hooks.prestart, "prestart", document);
    run_hooks(plan.spec.hooks.create_runtime, "createRuntime", document);
  };
  answers.listener = [&](UniqueFd listener) {
    send_listener(plan, std::move(listener), state.pid, state_document(state, "creating", false));
  };
  await_ready(created.sync, created.init, plan, answers);
  log_debug("init of container " + id + " is ready");
  cgroups.apply_cpu_quota(plan.spec.resources);
  if (!options.pidfd_socket.empty()) send_pidfd(options.pidfd_socket, created.init.pidfd());
  if (!options.pid_file.empty()) write_pid_file(options.pid_file, state.pid);
  rollback.succeeded();
  created.spec = std::move(plan.spec);
  return created;
}

void destroy_ended(const Context& context, const State& state) {
  UniqueFd lock;
  State now;
  try {
    lock = context.root.lock(state.id, std::chrono::seconds(10));
    now = context.root.load(state.id);
  } catch (const NoSuchContainer&) {
    return;
  }
  if (now.pid == state.pid && now.start_time == state.start_time) destroy_container(context, state);
}

void destroy_container(const Context& context, const State& state) {
  Cgroups cgroups = state.cgroup_dirs();
  if (!cgroups.kill_all(std::chrono::seconds(10))) {
    throw InvalidInput("processes of the container do not end: " + state.id);
  }
  cgroups.remove();
  if (state.systemd_unit) stop_unit(*state.systemd_unit);
  if (state.config.empty()) return context.root.remove(state.id);
  Spec spec = parse_spec(state.config);
  if (const auto* ns = spec.find_namespace(CLONE_NEWNS); !ns->path.empty()) {
    try {
      detach_root(ns->path, state.rootfs);
    } catch (const std::exception& e) {
      // Gone with its last process, or taken away by hand.
      log_warning(describe(e));
    }
  }
  context.root.remove(state.id);
  if (spec.hooks.poststop.empty()) return;
  try {
    run_hooks(spec.hooks.poststop, "poststop", state_document(state, "stopped", false));
  } catch (const std::exception& e) {
    log_warning(describe(e));
  }
}

}  // namespace gantry::runtime
