#pragma once

#include <cstdint>
#include <string>

namespace gantry {

/// A block device by its numbers.
struct BlockDevice {
  uint32_t major = 0;
  uint32_t minor = 0;
  uint64_t bytes = 0;
};

/// Makes a file into a block device, which ends by itself when nobody has it open any more. A file that is one already
/// is not attached twice. The returned descriptor holds it until something else does.
int attach_loop(const std::string& file, BlockDevice& device);

/// ENOTBLK when it is none.
BlockDevice block_device(const std::string& path);

/// A node for a device in a folder of the caller's own, for mount(2); made anew when one is there.
void make_block_node(const std::string& path, uint32_t major, uint32_t minor);

}  // namespace gantry
