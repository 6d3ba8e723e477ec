#include "checkpoint.h"

#include <fcntl.h>
#include <limits.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <string_view>

#include "commands.h"
#include "errno_text.h"
#include "gantry/error.h"
#include "mount_options.h"
#include "namespaces.h"
#include "path_in_root.h"
#include "rootfs.h"
#include "standard_streams.h"

namespace gantry::runtime {
namespace {

constexpr char kDumpLog[] = "dump.log";
constexpr char kConfigAnnotation[] = "org.criu.config";
/// What an administrator has told criu about all containers.
constexpr char kConfigFile[] = "/etc/criu/runc.conf";
constexpr std::size_t kErrors = 2;
constexpr std::size_t kMaxLogBytes = 64u << 20;

void make_folders(const std::string& path) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    std::string level = path.substr(0, slash);
    // Images are the memory of processes: nobody else's to read.
    if (::mkdir(level.c_str(), 0700) != 0 && errno != EEXIST) throw_errno("mkdir", level);
    if (slash == std::string::npos) return;
  }
}

UniqueFd open_folder(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
  return fd;
}

/// criu_cg_mode of its protocol.
int cgroups_mode(const std::string& word) {
  if (word.empty()) return 6;
  if (word == "ignore") return 0;
  if (word == "soft") return 3;
  if (word == "full") return 4;
  if (word == "strict") return 5;
  throw UsageError("invalid manage-cgroups-mode \"" + word + "\": soft, full, strict or ignore");
}

std::string config_file(const Spec& spec) {
  for (const auto& [name, value] : spec.annotations) {
    if (name == kConfigAnnotation) return value;
  }
  return kConfigFile;
}

/// What came before "Dumping FAILED", and what was before that: the last that went wrong is why.
std::string last_errors(const std::string& log) {
  std::vector<std::string> errors;
  for (std::size_t start = 0; start < log.size();) {
    auto end = std::min(log.find('\n', start), log.size());
    std::string_view line = std::string_view(log).substr(start, end - start);
    start = end + 1;
    auto at = line.find("Error (");
    if (at == std::string_view::npos || line.find("FAILED") != std::string_view::npos) continue;
    errors.emplace_back(line.substr(at));
  }
  std::string text;
  for (std::size_t i = errors.size() > kErrors ? errors.size() - kErrors : 0; i < errors.size(); ++i) {
    text += ": " + errors[i];
  }
  return text;
}

std::pair<std::string, int> page_server_address(const std::string& text) {
  auto colon = text.rfind(':');
  std::string address = text.substr(0, colon), port = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (address.size() > 2 && address.front() == '[' && address.back() == ']') {
    address = address.substr(1, address.size() - 2);
  }
  bool number = !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string::npos;
  if (address.empty() || !number || std::stoi(port) == 0 || std::stoi(port) > 65535) {
    throw UsageError("invalid page-server \"" + text + "\": ADDRESS:PORT");
  }
  return {address, std::stoi(port)};
}

/// For pages that have not changed since; relative to the images, since the two are moved together.
void set_parent(CriuOptions& options, const std::string& parent, const CheckpointFolders& folders) {
  if (parent[0] == '/') throw UsageError("--parent-path must be relative to the images");
  UniqueFd dir(::openat(folders.images_dir.get(), parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir) throw_errno("open --parent-path", folders.images + "/" + parent);
  options.set(CriuOption::kParentImage, parent);
}

/// Namespaces that others made, which a restore joins again rather than makes.
void set_external_namespaces(CriuOptions& options, const Spec& spec, int process) {
  for (auto [flag, name] : {std::pair{CLONE_NEWNET, "net"}, std::pair{CLONE_NEWPID, "pid"}}) {
    const auto* ns = spec.find_namespace(flag);
    if (!ns || ns->path.empty()) continue;
    struct stat st;
    std::string file = std::string("ns/") + name;
    if (::fstatat(process, file.c_str(), &st, 0) != 0) throw_errno("stat namespace", ns->path);
    std::string word = std::string(name) + "[" + std::to_string(st.st_ino) + "]:" + external_namespace_key(name);
    options.set(CriuOption::kExternal, word);
  }
}

/// Path in the container of what `path` leads to, which is how criu finds a mount. `root` is the root of its mount
/// namespace, so the kernel names what is below it from there.
std::string resolved_in_root(int root, const std::string& path) {
  UniqueFd fd = try_open_in_root(root, path);
  if (!fd) return path;
  char text[PATH_MAX];
  ssize_t n = ::readlink(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), text, sizeof text);
  if (n < 0) throw_errno("readlink", "/proc/self/fd");
  return std::string(text, static_cast<std::size_t>(n));
}

void set_external_mounts(CriuOptions& options, const State& state, const Spec& spec, int process) {
  UniqueFd root(::openat(process, "root", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) throw_errno("open the root of process", std::to_string(state.pid));
  for (const auto& mount : external_mounts(spec, state.bundle, state.cgroup_dirs())) {
    // Named as the configuration has it, which is the same when it is restored.
    options.external_mount(resolved_in_root(root.get(), mount.destination), mount.destination);
  }
  for (const auto& path : spec.masked_paths) {
    UniqueFd masked = try_open_in_root(root.get(), path);
    struct stat st;
    // A folder is masked by an empty file system, which criu can make again.
    if (!masked || ::fstat(masked.get(), &st) != 0 || S_ISDIR(st.st_mode)) continue;
    options.external_mount(resolved_in_root(root.get(), path), "/dev/null");
  }
}

/// With them a restore knows which of criu's pipes its own streams stand for.
void write_descriptors(const CheckpointFolders& folders, const State& state) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> w(buffer);
  w.StartArray();
  for (const auto& stream : state.streams) w.String(stream);
  w.EndArray();
  std::string path = folders.images + "/" + kDescriptorsFile;
  UniqueFd fd(::openat(folders.images_dir.get(), kDescriptorsFile,
                       O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) throw_errno("create", path);
  if (::write(fd.get(), buffer.GetString(), buffer.GetSize()) != static_cast<ssize_t>(buffer.GetSize())) {
    throw_errno("write", path);
  }
}

std::string absolute(const std::string& path) {
  if (path[0] == '/') return path;
  char cwd[PATH_MAX];
  if (!::getcwd(cwd, sizeof cwd)) throw_errno("getcwd");
  return std::string(cwd) + "/" + path;
}

}  // namespace

CheckpointFolders open_checkpoint_folders(const CommandLine& line, bool restore) {
  CheckpointFolders folders;
  std::string images = line.value("image-path"), work = line.value("work-path");
  folders.images = absolute(images.empty() ? "checkpoint" : images);
  folders.work = work.empty() ? folders.images : absolute(work);
  if (!restore) make_folders(folders.images);
  if (!work.empty()) make_folders(folders.work);
  folders.images_dir = open_folder(folders.images);
  folders.work_dir = open_folder(folders.work);
  return folders;
}

void check_checkpoint_support(const Context& context, const Spec& spec) {
  if (context.rootless) throw InvalidInput("criu needs the rights of root over the host");
  for (auto [flag, name] : {std::pair{CLONE_NEWNS, "mount"}, std::pair{CLONE_NEWUSER, "user"},
                            std::pair{CLONE_NEWCGROUP, "cgroup"}, std::pair{CLONE_NEWTIME, "time"}}) {
    const auto* ns = spec.find_namespace(flag);
    if (ns && !ns->path.empty()) {
      throw InvalidInput("criu cannot put a container into a given " + std::string(name) + " namespace: " + ns->path);
    }
  }
}

CriuOptions checkpoint_options(const CommandLine& line, const Spec& spec, const std::string& log) {
  if (line.has("lazy-pages")) throw UsageError("--lazy-pages is not supported: memory is restored at once");
  for (const auto& kind : line.values("empty-ns")) {
    if (kind != "network") throw UsageError("invalid empty-ns \"" + kind + "\": only network can be left empty");
  }
  CriuOptions options;
  options.set(CriuOption::kImagesDirectory, kCriuImages);
  options.set(CriuOption::kWorkDirectory, kCriuWork);
  options.set(CriuOption::kLogLevel, 4);
  options.set(CriuOption::kLogFile, log);
  options.set(CriuOption::kNotifyScripts, true);
  options.set(CriuOption::kManageCgroups, true);
  options.set(CriuOption::kManageCgroupsMode, cgroups_mode(line.value("manage-cgroups-mode")));
  options.set(CriuOption::kOrphanPtsMaster, true);
  // Network devices are made by whoever made those of the container that was dumped.
  options.set(CriuOption::kEmptyNamespaces, CLONE_NEWNET);
  if (std::string file = config_file(spec); !file.empty()) options.set(CriuOption::kConfigFile, file);
  constexpr std::pair<const char*, CriuOption> kFlags[] = {
      {"tcp-established", CriuOption::kTcpEstablished},
      {"ext-unix-sk", CriuOption::kExternalUnixSockets},
      {"shell-job", CriuOption::kShellJob},
      {"file-locks", CriuOption::kFileLocks},
      {"auto-dedup", CriuOption::kAutoDedup},
      {"link-remap", CriuOption::kLinkRemap},
      {"tcp-skip-in-flight", CriuOption::kTcpSkipInFlight},
      {"leave-running", CriuOption::kLeaveRunning},
  };
  for (const auto& [flag, option] : kFlags) {
    if (line.has(flag)) options.set(option, true);
  }
  return options;
}

void with_criu_log(const CheckpointFolders& folders, const std::string& log, const std::function<void()>& body) {
  // One of an earlier attempt would tell the wrong story.
  ::unlinkat(folders.work_dir.get(), log.c_str(), 0);
  try {
    body();
  } catch (const std::exception& e) {
    std::string path = folders.work + "/" + log;
    auto text = try_read_file(path, kMaxLogBytes);
    if (!text) throw;
    throw InvalidInput(describe(e) + last_errors(*text) + " (more in " + path + ")");
  }
}

std::vector<ExternalMount> external_mounts(const Spec& spec, const std::string& bundle, const Cgroups& cgroups) {
  std::vector<ExternalMount> all;
  for (const auto& entry : spec.mounts) {
    MountOptions options = parse_mount_options(entry.options);
    if (entry.type == "cgroup" || entry.type == "cgroup2") {
      // Otherwise they are real mounts of the container's own.
      if (cgroups.v2() || spec.find_namespace(CLONE_NEWCGROUP)) continue;
      for (const auto& dir : cgroups.dirs()) all.push_back({entry.destination + "/" + dir.controller, dir.path});
    } else if ((options.bind || entry.type == "bind") && !options.remount) {
      all.push_back({entry.destination, entry.source[0] == '/' ? entry.source : bundle + "/" + entry.source});
    }
  }
  for (const auto& device : devices_of(spec)) {
    if (is_bound_device(spec, device)) all.push_back({device.path, device.path});
  }
  return all;
}

std::string external_namespace_key(const std::string& kind) {
  std::string name = kind;
  name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
  return "extRoot" + name + "NS";
}

int checkpoint_command(const Context& context, const CommandLine& line) {
  const std::string& id = line.arguments()[0];
  // Nobody deletes it under us.
  UniqueFd lock = context.root.lock(id, std::chrono::seconds(10));
  State state = context.root.load(id);
  Status status = status_of(context.root, state);
  if (status != Status::kRunning && status != Status::kPaused) {
    throw InvalidInput(std::string("container cannot be checkpointed in ") + status_name(status) + " state");
  }
  Spec spec = parse_spec(state.config);
  check_checkpoint_support(context, spec);
  CheckpointFolders folders = open_checkpoint_folders(line, false);
  CriuOptions options = checkpoint_options(line, spec, kDumpLog);
  Criu criu(context.criu);
  criu.require();

  bool pre_dump = line.has("pre-dump");
  std::string parent = line.value("parent-path");
  if (pre_dump || !parent.empty()) {
    criu.require_memory_tracking();
    options.set(CriuOption::kTrackMemory, true);
  }
  if (!parent.empty()) set_parent(options, parent, folders);
  if (std::string server = line.value("page-server"); !server.empty()) {
    auto [address, port] = page_server_address(server);
    options.page_server(address, port);
  }
  options.set(CriuOption::kPid, state.pid);
  options.set(CriuOption::kRoot, state.rootfs);
  Cgroups cgroups = state.cgroup_dirs();
  std::string freezer = cgroups.path_of(cgroups.v2() ? "unified" : "freezer");
  if (!freezer.empty()) options.set(CriuOption::kFreezeCgroup, freezer);

  UniqueFd init = open_init(state);
  UniqueFd process = ProcHandle::host().open(std::to_string(state.pid), O_PATH | O_DIRECTORY);
  if (!init) throw InvalidInput("container cannot be checkpointed in stopped state");
  set_external_namespaces(options, spec, process.get());
  if (!pre_dump) {
    set_external_mounts(options, state, spec, process.get());
    for (const auto& stream : state.streams) {
      if (is_file_stream(stream)) options.set(CriuOption::kExternal, stream);
    }
    write_descriptors(folders, state);
  }
  CriuPlace place;
  place.images = folders.images;
  place.work = folders.work;
  with_criu_log(folders, kDumpLog, [&] {
    criu.run(pre_dump ? CriuRequest::kPreDump : CriuRequest::kDump, options, place, [](CriuNotice&) {});
  });
  // criu has ended its processes; it lives on in the images.
  if (!pre_dump && !line.has("leave-running")) destroy_container(context, state);
  return 0;
}

}  // namespace gantry::runtime
