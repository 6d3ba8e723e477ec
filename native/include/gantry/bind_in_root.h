#pragma once

#include <string>

namespace gantry {

/// A place below a root that somebody else may be changing, see path.h.
struct PlaceInRoot {
  int root;
  std::string path;
};

/// Shows what `source` leads to, with the mounts below it, at `target`, which is made (a folder for a folder, else an
/// empty file) when it is not there. Both are resolved inside their roots and held by descriptor from then on. What is
/// mounted is private: unmounting it is nobody else's business. Linux 5.12.
void bind_in_root(const PlaceInRoot& source, const PlaceInRoot& target, bool read_only);

}  // namespace gantry
