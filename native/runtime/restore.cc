#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "apart.h"
#include "checkpoint.h"
#include "commands.h"
#include "console.h"
#include "errno_text.h"
#include "foreground.h"
#include "gantry/error.h"
#include "hooks.h"
#include "host_mounts.h"
#include "json.h"
#include "log.h"
#include "mount_fd.h"
#include "mount_options.h"
#include "namespaces.h"
#include "net_devices.h"
#include "path_in_root.h"
#include "standard_streams.h"

// From sys/mount.h, which cannot be included beside linux/mount.h.
extern "C" int umount2(const char* target, int flags) noexcept;

namespace gantry::runtime {
namespace {

constexpr char kRestoreLog[] = "restore.log";
constexpr std::size_t kMaxDescriptorsBytes = 64 << 10;
constexpr unsigned long kSlave = 1ul << 19;
constexpr int kDetach = 2;  // MNT_DETACH

/// Nothing that is mounted here is seen outside, or stays behind.
void own_mount_namespace() {
  if (::unshare(CLONE_NEWNS) != 0) throw_errno("unshare the mount namespace");
  UniqueFd top(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!top) throw_errno("open", "/");
  set_mount_attributes(top.get(), 0, 0, kSlave, true, "/");
}

/// criu wants a root that is a mount whose parent nothing covers. In a mount namespace of our own the container's
/// folder is such a place.
UniqueFd attach_root(const Plan& plan, const std::string& place) {
  UniqueFd target(::open(place.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!target) throw_errno("open", place);
  UniqueFd root = clone_mount(AT_FDCWD, plan.rootfs, true);
  attach_mount(root.get(), target.get(), place);
  return root;
}

/// The images as a folder that everybody may search. In a user namespace they are opened by processes that are nobody
/// on the host, and are not yet root of their own; criu's files let everybody read, it is the folder that keeps
/// strangers out. Nobody but criu sees this one: a layer over it whose top is another folder, empty, with other rights.
/// `place` is needed meanwhile.
UniqueFd searchable(const std::string& images, const std::string& place) {
  UniqueFd below(::open(images.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  UniqueFd target(::open(place.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!below || !target) throw_errno("open", below ? place : images);
  MountOptions empty, layers;
  empty.data = {{"mode", "755"}};
  // A layer has to be mounted somewhere when it becomes one.
  UniqueFd top = new_mount("tmpfs", "tmpfs", empty, place);
  attach_mount(top.get(), target.get(), place);
  auto path = [](const UniqueFd& fd) { return "/proc/self/fd/" + std::to_string(fd.get()); };
  layers.set = MOUNT_ATTR_RDONLY;
  layers.data = {{"lowerdir", path(top) + ":" + path(below)}};
  UniqueFd mount = new_mount("overlay", "overlay", layers, images);
  if (::umount2(place.c_str(), kDetach) != 0) throw_errno("unmount", place);
  return mount;
}

bool below_tmpfs(const Spec& spec, const std::string& path) {
  for (const auto& entry : spec.mounts) {
    if (entry.type == "tmpfs" && path.rfind(entry.destination + "/", 0) == 0) return true;
  }
  return false;
}

/// Makes the places of mounts that the root lacks, as creating the container did. What is on a tmpfs comes back with
/// it. Bind mounts are put in meanwhile, since others may be in them. For a process of its own.
void make_mount_points(const Plan& plan, const std::string& place) {
  own_mount_namespace();
  UniqueFd root = attach_root(plan, place);
  for (const auto& entry : plan.spec.mounts) {
    MountOptions options = parse_mount_options(entry.options);
    if (options.remount || below_tmpfs(plan.spec, entry.destination)) continue;
    if (!options.bind && entry.type != "bind") {
      // Those of cgroups are there as soon as sysfs is.
      if (entry.type != "cgroup" && entry.type != "cgroup2") {
        open_or_create_in_root(root.get(), entry.destination, Kind::kDirectory);
      }
      continue;
    }
    UniqueFd mount = clone_source(plan, entry, options.recursive_bind);
    struct stat st;
    if (::fstat(mount.get(), &st) != 0) throw_errno("stat", entry.source);
    UniqueFd target =
        open_or_create_in_root(root.get(), entry.destination, S_ISDIR(st.st_mode) ? Kind::kDirectory : Kind::kFile);
    attach_mount(mount.get(), target.get(), entry.destination);
  }
}

/// The container's cgroup in each hierarchy, by the names of /proc/self/cgroup: what criu puts in place of the one that
/// was dumped.
void set_cgroup_roots(CriuOptions& options, const Cgroups& cgroups) {
  std::string table = read_file("/proc/self/cgroup");
  const std::string mounts = "/sys/fs/cgroup";
  for (std::size_t start = 0; start < table.size();) {
    auto end = std::min(table.find('\n', start), table.size());
    std::string line = table.substr(start, end - start);
    start = end + 1;
    auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string names = line.substr(first + 1, second - first - 1);
    for (const auto& dir : cgroups.dirs()) {
      bool unified = dir.controller == "unified";
      bool meant = unified ? names.empty()
                           : ("," + names + ",").find("," + dir.controller + ",") != std::string::npos ||
                                 names == "name=" + dir.controller;
      if (!meant) continue;
      std::string root = cgroups.v2() ? mounts : mounts + "/" + dir.controller;
      // criu knows a hierarchy by each of its controllers.
      for (std::size_t at = 0;;) {
        auto comma = std::min(names.find(',', at), names.size());
        options.cgroup_root(names.substr(at, comma - at), dir.path.substr(root.size()));
        if (comma == names.size()) break;
        at = comma + 1;
      }
    }
  }
}

void join_cgroups(const Cgroups& cgroups) {
  for (const auto& tasks : cgroups.open_tasks()) {
    if (::write(tasks.get(), "0", 1) != 1) throw_errno("join the container's cgroup");
  }
  if (std::string unified = cgroups.path_of("unified"); !unified.empty()) write_control(unified, "cgroup.procs", "0");
}

std::vector<std::string> read_descriptors(const CheckpointFolders& folders) {
  std::string path = folders.images + "/" + kDescriptorsFile;
  // Our reader takes objects only.
  JsonDocument document("{\"streams\":" + read_file(path, kMaxDescriptorsBytes) + "}", kDescriptorsFile);
  return document.root()["streams"].strings();
}

/// Everything about one restore that has to be ready before criu is asked.
class Restore {
 public:
  Restore(const Context& context, const CommandLine& line)
      : context_(context), line_(line), plan_(ProcHandle::host(), Sync(UniqueFd(), true)) {
    cgroups_ = read_bundle(context, line.arguments()[0], line.value("bundle"), plan_, state_);
  }

  const State& state() const { return state_; }
  bool terminal() const { return plan_.process.terminal; }

  /// Gives the restored first process. On failure nothing is left. A terminal goes to `console`.
  Child run(int console);

 private:
  void make_cgroups();
  void set_mounts(CriuOptions& options);
  void set_namespaces(CriuOptions& options, CriuPlace& place, std::vector<UniqueFd>& held);
  void on_notice(CriuNotice& notice, int console);

  const Context& context_;
  const CommandLine& line_;
  Plan plan_;
  State state_;
  Cgroups cgroups_;
  /// A scope of systemd's lives as long as somebody is in it, and criu is not there yet.
  Child tenant_;
};

void Restore::make_cgroups() {
  if (state_.systemd_unit) {
    tenant_ = spawn_idle(0);
    start_unit(*state_.systemd_unit, state_.id, tenant_.pid(), plan_.spec.resources, plan_.spec.annotations,
               cgroups_.v2());
  }
  cgroups_.create(false, state_.systemd_unit.has_value());
  // The container's devices and number of processes would be too few for criu.
  Resources meanwhile = plan_.spec.resources;
  meanwhile.devices.clear();
  meanwhile.pids_limit.reset();
  cgroups_.apply(meanwhile);
  state_.cgroups = cgroups_.dirs();
}

void Restore::set_mounts(CriuOptions& options) {
  for (const auto& mount : external_mounts(plan_.spec, plan_.bundle, cgroups_)) {
    options.external_mount(mount.destination, mount.source);
  }
  if (!plan_.spec.masked_paths.empty()) options.external_mount("/dev/null", "/dev/null");
}

void Restore::set_namespaces(CriuOptions& options, CriuPlace& place, std::vector<UniqueFd>& held) {
  for (auto [flag, name] : {std::pair{CLONE_NEWNET, "net"}, std::pair{CLONE_NEWPID, "pid"}}) {
    const auto* ns = plan_.spec.find_namespace(flag);
    if (!ns || ns->path.empty()) continue;
    held.push_back(open_namespace(ns->path, flag));
    options.inherit(external_namespace_key(name), kCriuInherited + static_cast<int>(place.descriptors.size()));
    place.descriptors.push_back(held.back().get());
  }
  for (auto [flag, name] : {std::pair{CLONE_NEWIPC, "ipc"}, std::pair{CLONE_NEWUTS, "uts"}}) {
    const auto* ns = plan_.spec.find_namespace(flag);
    if (ns && !ns->path.empty()) options.join_namespace(name, ns->path);
  }
}

void Restore::on_notice(CriuNotice& notice, int console) {
  const Spec& spec = plan_.spec;
  if (notice.point == "setup-namespaces") {
    state_.pid = notice.pid;
    std::string document = state_document(state_, "creating", false);
    run_hooks(spec.hooks.prestart, "prestart", document);
    run_hooks(spec.hooks.create_runtime, "createRuntime", document);
    move_net_devices(plan_, notice.pid);
    if (const auto* ns = spec.find_namespace(CLONE_NEWNET); ns && ns->path.empty()) {
      UniqueFd dir = plan_.proc.open(std::to_string(notice.pid) + "/ns", O_RDONLY | O_DIRECTORY);
      UniqueFd network(::openat(dir.get(), "net", O_RDONLY | O_CLOEXEC));
      if (!network) throw_errno("open the container's network namespace");
      run_apart([&] {
        if (::setns(network.get(), CLONE_NEWNET) != 0) throw_errno("join the container's network namespace");
        bring_up_loopback();
      });
    }
  } else if (notice.point == "orphan-pts-master") {
    if (!notice.descriptor) throw InvalidInput("criu sent no terminal");
    if (console < 0) throw InvalidInput("the container has a terminal that its configuration does not tell of");
    send_descriptor(console, "/dev/pts/0", notice.descriptor.get());
  } else if (notice.point == "post-restore") {
    // Its processes are there, and wait.
    cgroups_.apply(spec.resources);
    cgroups_.apply_cpu_quota(spec.resources);
    state_.pid = notice.pid;
    if (auto info = process_info(state_.pid)) state_.start_time = info->start_time;
    context_.root.save(state_);
  }
}

Child Restore::run(int console) {
  check_checkpoint_support(context_, plan_.spec);
  CheckpointFolders folders = open_checkpoint_folders(line_, true);
  CriuOptions options = checkpoint_options(line_, plan_.spec, kRestoreLog);
  std::vector<std::string> streams = read_descriptors(folders);
  Criu criu(context_.criu);
  criu.require();

  UniqueFd lock = context_.root.reserve(state_.id);
  std::string config = std::exchange(state_.config, "");
  try {
    cgroups_.refuse_if_used();
    context_.root.announce(state_);
    make_cgroups();
    std::string place = context_.root.folder(state_.id);
    run_apart([&] { make_mount_points(plan_, place); });

    std::vector<UniqueFd> held;
    CriuPlace where;
    where.images = folders.images;
    where.work = folders.work;
    where.standard_streams = !terminal();
    where.enter = [&] {
      join_cgroups(cgroups_);
      own_mount_namespace();
      if (plan_.spec.find_namespace(CLONE_NEWUSER)) {
        where.images_mount = searchable(folders.images, place).release();
      }
      attach_root(plan_, place);
    };
    set_namespaces(options, where, held);
    set_mounts(options);
    set_cgroup_roots(options, cgroups_);
    for (std::size_t i = 0; i < streams.size() && i < 3; ++i) {
      if (!terminal() && is_replaceable_stream(streams[i])) options.inherit(streams[i], static_cast<int>(i));
    }
    options.set(CriuOption::kEvasiveDevices, true);
    options.set(CriuOption::kRestoreSibling, true);
    options.set(CriuOption::kRoot, place);
    if (std::string profile = line_.value("lsm-profile"); !profile.empty()) {
      options.set(CriuOption::kLsmProfile, profile);
    }
    if (std::string label = line_.value("lsm-mount-context"); !label.empty()) {
      options.set(CriuOption::kLsmMountContext, label);
    }
    state_.config = std::move(config);
    pid_t pid = 0;
    with_criu_log(folders, kRestoreLog, [&] {
      pid = criu.run(CriuRequest::kRestore, options, where, [&](CriuNotice& notice) { on_notice(notice, console); });
    });
    if (pid != state_.pid) throw InvalidInput("criu did not tell which process it restored");
    tenant_ = Child();
    // A sibling of criu's, so ours to reap, and its number is still its own.
    return Child(pid, UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))));
  } catch (...) {
    try {
      // Without its configuration: no hook is told of the end of what has not begun.
      state_.config.clear();
      destroy_container(context_, state_);
    } catch (const std::exception& e) {
      log_warning(describe(e));
    }
    throw;
  }
}

}  // namespace

int restore_command(const Context& context, const CommandLine& line) {
  Restore restore(context, line);
  bool detach = line.has("detach");
  std::string socket = line.value("console-socket");
  if (restore.terminal() && detach && socket.empty()) {
    throw InvalidInput("cannot allocate tty if the runtime will detach without setting console socket");
  }
  if (!restore.terminal() && !socket.empty()) {
    throw InvalidInput("cannot use console socket if the runtime will not detach or allocate tty");
  }
  std::optional<Foreground> foreground;
  UniqueFd console;
  if (!detach) {
    foreground.emplace();
    if (!line.has("no-subreaper")) foreground->adopt_orphans();
  }
  if (!socket.empty()) {
    console = connect_stream_socket(socket, "console socket");
  } else if (restore.terminal()) {
    console = foreground->console();
  }
  Child init = restore.run(console.get());
  console.reset();
  if (std::string path = line.value("pid-file"); !path.empty()) {
    try {
      write_pid_file(path, init.pid());
    } catch (...) {
      init = Child();
      destroy_container(context, restore.state());
      throw;
    }
  }
  if (detach) {
    init.release();
    return 0;
  }
  int code = foreground->wait(init);
  destroy_ended(context, restore.state());
  return code;
}

}  // namespace gantry::runtime
