#pragma once

#include <string>

#include "gantry/fd.h"

namespace gantry::runtime {

/// A procfs that nobody in a container can put something over. Every path is resolved beneath it without crossing a
/// mount or following a magic link, and it is checked to be procfs' own root, so a write meant for an attribute cannot
/// land in something else.
class ProcHandle {
 public:
  /// The /proc of the mount namespace that we are in: only while that is the host's.
  static ProcHandle host();
  /// Takes the root of a procfs mount.
  explicit ProcHandle(UniqueFd root);

  /// Opens a file such as "self/attr/exec".
  UniqueFd open(const std::string& path, int flags) const;
  /// Writes in one call and throws unless all of it was taken.
  void write(const std::string& path, const std::string& text) const;
  std::string read(const std::string& path) const;
  /// Opens anew what the descriptor refers to.
  UniqueFd reopen(int fd, int flags) const;
  int get() const { return root_.get(); }
  void close() { root_.reset(); }

 private:
  UniqueFd root_;
};

}  // namespace gantry::runtime
