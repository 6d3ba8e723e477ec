#pragma once

#include <string>
#include <vector>

namespace gantry::runtime {

/// What our standard streams are, which a container's first process gets, in the words of criu: "pipe:[INODE]" of a
/// pipe, "file[MOUNT:INODE]" of a file or device. Empty for what criu deals with by itself, or not at all: terminals,
/// sockets, closed ones. Always three.
std::vector<std::string> name_standard_streams();

/// Whether a name is one that somebody may be given in place of, after a restore.
bool is_replaceable_stream(const std::string& name);

/// Whether it is of a file or device.
bool is_file_stream(const std::string& name);

}  // namespace gantry::runtime
