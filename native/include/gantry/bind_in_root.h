#pragma once

#include <string>

#include "gantry/fd.h"

namespace gantry {

/// A place below a root that somebody else may be changing, see path.h.
struct PlaceInRoot {
  int root;
  std::string path;
};

struct BindOptions {
  /// With the mounts below the source.
  bool recursive = true;
  bool read_only = false;
  /// Read-only with all that is below; only with `read_only`.
  bool read_only_tree = false;
  /// An MS_ flag: MS_PRIVATE, MS_SLAVE or MS_SHARED; of the whole tree.
  unsigned long propagation = 1 << 18;
};

/// Shows what `source` leads to, with the mounts below it, at `target`, which is made (a folder for a folder, else an
/// empty file) when it is not there. Both are resolved inside their roots and held by descriptor from then on. What is
/// mounted is private: unmounting it is nobody else's business. Linux 5.12.
void bind_in_root(const PlaceInRoot& source, const PlaceInRoot& target, bool read_only);

/// The same with a target in another mount namespace, which is given as an open file of /proc/PID/ns, and `target.root`
/// as an open /proc/PID/root. The calling thread enters the namespace and stays there: run it on a thread of its own
/// that then ends.
void bind_in_namespace(const PlaceInRoot& source, int mount_namespace, const PlaceInRoot& target,
                       const BindOptions& options);

/// Takes away what is mounted at `target` in another mount namespace, also while it is in use: who has files there open
/// keeps them. What is no mount is InvalidInput, for nothing is guessed about what else lies there. Thread as above.
void unmount_in_namespace(int mount_namespace, const PlaceInRoot& target);

}  // namespace gantry
