#pragma once

#include <cstdint>
#include <string>

namespace gantry {

/// Grows the file system that is mounted, writable, at `tree` to `bytes`, which its device has. Knows ext4 and xfs;
/// EOPNOTSUPP for another. One that is as large already stays as it is. ext4 asks for CAP_SYS_RESOURCE.
void grow_file_system(const std::string& tree, uint64_t bytes);

}  // namespace gantry
