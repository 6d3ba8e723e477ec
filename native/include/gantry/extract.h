#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "gantry/tar_reader.h"

namespace gantry {

enum class Whiteouts {
  /// None: every name is a name.
  plain,
  /// Become overlayfs' own marks in the target, which is an upper folder.
  overlay,
  /// Delete what the target had before this archive.
  remove,
};

struct ExtractOptions {
  /// Folder that nothing leads out of; links are resolved as if it were `/`.
  int root = -1;
  /// Where in the root entries go; "" is the root itself.
  std::string base;
  Whiteouts whiteouts = Whiteouts::plain;
  /// The overlay will be mounted with `userxattr`: its marks have other names.
  bool user_xattr = false;
  /// Refuse to put a file in a folder's place or the other way round.
  bool no_overwrite_dir_non_dir = false;
  /// Instead of what the archive says.
  struct Owner {
    uint32_t uid;
    uint32_t gid;
  };
  std::optional<Owner> owner;
};

/// Puts every entry into the target and returns the bytes of file content. A name that climbs out of `base`, and a path
/// or hard link that cannot be followed inside the root, is InvalidInput naming the entry. Changes the calling thread's
/// umask: run it on a thread of its own.
uint64_t extract(TarReader& archive, const ExtractOptions& options);

}  // namespace gantry
