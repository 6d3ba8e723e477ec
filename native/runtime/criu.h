#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "gantry/fd.h"
#include "protobuf.h"

namespace gantry::runtime {

/// What criu is asked for; the values of its protocol.
enum class CriuRequest { kDump = 1, kRestore = 2, kPreDump = 4, kNotify = 6, kFeatureCheck = 9, kVersion = 10 };

/// Options of one value, by their numbers in criu's protocol.
enum class CriuOption : unsigned {
  kImagesDirectory = 1,
  kPid = 2,
  kLeaveRunning = 3,
  kExternalUnixSockets = 4,
  kTcpEstablished = 5,
  kEvasiveDevices = 6,
  kShellJob = 7,
  kFileLocks = 8,
  kLogLevel = 9,
  kLogFile = 10,
  kNotifyScripts = 12,
  kRoot = 13,
  kParentImage = 14,
  kTrackMemory = 15,
  kAutoDedup = 16,
  kWorkDirectory = 17,
  kLinkRemap = 18,
  kManageCgroups = 24,
  kRestoreSibling = 26,
  kManageCgroupsMode = 34,
  kExternal = 37,
  kEmptyNamespaces = 38,
  kFreezeCgroup = 44,
  kTcpSkipInFlight = 46,
  kOrphanPtsMaster = 50,
  kConfigFile = 51,
  kLsmProfile = 53,
  kLsmMountContext = 63,
};

/// Options of one request. Descriptors in them are numbers in criu's process.
class CriuOptions {
 public:
  void set(CriuOption option, std::int64_t value) { options_.number(static_cast<unsigned>(option), value); }
  void set(CriuOption option, std::string_view value) { options_.text(static_cast<unsigned>(option), value); }
  /// A mount that criu is not to look into: on a dump the place in the container and its name, on a restore the name
  /// and the place on the host.
  void external_mount(const std::string& key, const std::string& value);
  void cgroup_root(const std::string& controller, const std::string& path);
  /// What the images call `key` is the descriptor `fd` now.
  void inherit(const std::string& key, int fd);
  void join_namespace(const std::string& kind, const std::string& path);
  void page_server(const std::string& address, int port);

  const ProtobufWriter& message() const { return options_; }

 private:
  ProtobufWriter options_;
};

/// criu has come to a point where something can be done, and waits until it is.
struct CriuNotice {
  /// Such as "post-restore".
  std::string point;
  /// Of the restored first process, as the host counts; 0 where there is none.
  pid_t pid = 0;
  /// At "orphan-pts-master": the master of the container's terminal.
  UniqueFd descriptor;
};

/// Numbers in criu's process, whose socket comes before: the folders of its images and of its log, then what it
/// inherits.
inline constexpr int kCriuImages = 4, kCriuWork = 5, kCriuInherited = 6;

/// Where criu runs.
struct CriuPlace {
  /// Called in criu's process before criu: to enter cgroups and namespaces. What it throws is the error of the request.
  std::function<void()> enter;
  /// Opened by criu's process as kCriuImages and kCriuWork, since a folder of another mount namespace is of no use
  /// there. Empty for requests that need none.
  std::string images, work;
  /// The images opened already, by `enter`; -1 for none.
  int images_mount = -1;
  /// Those that it inherits, from kCriuInherited on in this order.
  std::vector<int> descriptors;
  /// criu has our standard streams, for those that it restores, rather than none.
  bool standard_streams = false;
};

/// criu as a program that serves one request over a socket (`criu swrk`) and ends.
class Criu {
 public:
  /// `program` is looked for in PATH when it is a plain name.
  explicit Criu(std::string program) : program_(std::move(program)) {}

  /// Throws unless criu is there and of the version that our requests need.
  void require() const;
  /// Throws unless criu and the kernel can tell which pages have changed since the last dump.
  void require_memory_tracking() const;

  /// Dumps or restores; gives the pid of the restored first process, 0 for a dump. `notice` is called at each point; if
  /// it throws, criu gives up and the exception goes on. Throws InvalidInput for a failure of criu's.
  pid_t run(CriuRequest type, const CriuOptions& options, const CriuPlace& place,
            const std::function<void(CriuNotice&)>& notice) const;

 private:
  std::string program_;
};

}  // namespace gantry::runtime
