#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gantry/digest.h"
#include "gantry/tree_changes.h"

namespace gantry {

/// What an archive says beyond what every tar reads.
struct PackForm {
  /// Holes stay holes. Otherwise a sparse file is written whole.
  bool holes = false;
  /// Times to the nanosecond. Otherwise to the second, as Docker's layers have them.
  bool exact_times = false;
};

/// Layer archive of an overlay's upper folder: its marks become archive whiteouts, its private attributes are left out.
/// A folder or file that overlayfs stored as a reference (redirect_dir, metacopy) is InvalidInput: its content is not
/// there.
Digested pack_upper(const Upper& upper, const PackForm& form, int fd);

/// Layer archive of what differs in `tree` from `parent`, or of all of it.
Digested pack_diff(const std::string& tree, const std::optional<std::string>& parent, Compare compare,
                   const PackForm& form, int fd);

/// Layer archive of what a walk reports.
Digested pack_changes(const PackForm& form, int fd, const std::function<void(const TakeChange&)>& walk);

/// Archive of one path inside a container's root, named `rename` or by its last component; "." puts content only below
/// "./". File systems that are views of the kernel (proc, sysfs, cgroup) are left as empty folders.
void pack_path(int root, const std::string& path, int fd, const std::optional<std::string>& rename);

}  // namespace gantry
