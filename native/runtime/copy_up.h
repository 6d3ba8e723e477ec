#pragma once

namespace gantry::runtime {

/// Copies what is in one directory into another, empty one: files, directories, links and nodes with owner and mode.
/// Both are descriptors, and no link is followed.
void copy_up(int from, int to);

}  // namespace gantry::runtime
