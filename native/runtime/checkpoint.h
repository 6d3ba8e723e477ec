#pragma once

#include <string>
#include <vector>

#include "command_line.h"
#include "create.h"
#include "criu.h"

namespace gantry::runtime {

/// Where criu's files are, open.
struct CheckpointFolders {
  /// Of the images: --image-path, by default "checkpoint" in the working directory.
  std::string images;
  /// Of the log: --work-path, by default that of the images.
  std::string work;
  UniqueFd images_dir, work_dir;
};

/// Opens them; makes what is not there, but for the images of a restore.
CheckpointFolders open_checkpoint_folders(const CommandLine& line, bool restore);

/// Options that a dump and its restore have in common, out of the flags and the container's configuration. `log` is the
/// name of criu's log.
CriuOptions checkpoint_options(const CommandLine& line, const Spec& spec, const std::string& log);

/// Throws for who may not, and for a configuration that criu has no way for.
void check_checkpoint_support(const Context& context, const Spec& spec);

/// Calls `body`, and adds to its failure the last errors that criu's log tells.
void with_criu_log(const CheckpointFolders& folders, const std::string& log, const std::function<void()>& body);

/// One mount of a container that criu leaves to us.
struct ExternalMount {
  /// Where, as the container's configuration has it.
  std::string destination;
  /// What on the host.
  std::string source;
};

/// Bind mounts; the directories of cgroup v1 where the container sees them as such; in a user namespace its devices.
std::vector<ExternalMount> external_mounts(const Spec& spec, const std::string& bundle, const Cgroups& cgroups);

/// By what a dump and its restore call a namespace that is not the container's own: "extRootNetNS".
std::string external_namespace_key(const std::string& kind);

/// A file beside criu's images: what the standard streams were, as runc has it.
inline constexpr char kDescriptorsFile[] = "descriptors.json";

}  // namespace gantry::runtime
