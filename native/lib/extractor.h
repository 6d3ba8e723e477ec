#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gantry/extract.h"
#include "gantry/fd.h"
#include "gantry/tree_changes.h"

namespace gantry {

constexpr std::string_view kWhiteout = ".wh.";

/// `path` without empty parts, "." and "..", or nullopt when it climbs out.
std::optional<std::string> clean_path(std::string_view path);

/// Folder and last name; the folder of a name alone is "".
std::pair<std::string, std::string> split_path(const std::string& path);

/// One archive on its way into a target. What an entry's kind needs is in a file of its own: extract_folders.cc,
/// extract_files.cc (all that is no folder) and extract_whiteouts.cc.
class Extractor {
 public:
  Extractor(TarReader& archive, const ExtractOptions& options);
  uint64_t run();

 private:
  struct Folder {
    UniqueFd fd;
    /// New files take its group instead of the writer's, so theirs must always be set.
    bool set_gid = false;
  };

  [[noreturn]] void refuse(const TarEntry& entry, const std::string& why) const;

  const char* opaque_mark() const { return opaque_xattr(options_.user_xattr); }
  bool is_layer() const { return options_.whiteouts != Whiteouts::plain; }
  std::string in_root(const std::string& path) const;
  void apply(TarEntry& entry);

  // --- folders ---

  /// The folder of that cleaned path, made with its parents when it is missing.
  Folder& folder(const std::string& path);
  std::unordered_map<std::string, Folder>::iterator remember(const std::string& path, UniqueFd fd);
  void forget_all() {
    folders_.clear();
    last_ = nullptr;
    last_path_ = nullptr;
  }
  /// Takes away what has the name and is not a folder that may stay. True when such a folder stays.
  bool clear_place(Folder& parent, const std::string& name, const TarEntry& entry, bool folder_comes,
                   bool* was_whiteout = nullptr);
  void own_folder(const TarEntry& entry);
  void directory(Folder& parent, const std::string& name, const std::string& path, const TarEntry& entry);
  void folder_properties(int fd, const TarEntry& entry, bool existed);

  // --- files ---

  void file(Folder& parent, const std::string& name, const std::string& path, const TarEntry& entry);
  static void write_whole(int fd, const uint8_t* from, size_t size, const std::string& path);
  void write_plain(int fd, const std::string& path);
  void write_sparse(int fd, const std::string& path, const TarEntry& entry);

  // --- other kinds ---

  void hard_link(Folder& parent, const std::string& parent_path, const std::string& name, const std::string& path,
                 const TarEntry& entry);
  int make_special(int dir, const std::string& name, const TarEntry& entry) const;
  void special(Folder& parent, const std::string& name, const std::string& path, const TarEntry& entry);

  // --- whiteouts ---

  void whiteout(const TarEntry& entry, const std::string& parent_path, const std::string& name);
  void hide(Folder& parent, const std::string& parent_path, const std::string& name);
  void opaque(const std::string& parent_path);
  /// Whether this archive put something at or below `path`.
  bool made_below(const std::string& path) const;
  void remove_old(int dir, const std::string& name, const std::string& path);
  void remove_old_content(int dir, const std::string& path);

  // --- properties ---

  struct Times {
    struct timespec both[2];
  };

  static Times entry_times(const TarEntry& entry) {
    const struct timespec when = {entry.mtime, static_cast<long>(entry.mtime_ns)};
    return {{when, when}};
  }
  void xattrs(int fd, const TarEntry& entry) const;
  /// A file system or host that cannot keep an attribute is no reason to refuse an image, unless it grants a privilege.
  static void tolerate_xattr(const std::string& name, const std::string& path);

  void drop_stale() {
    if (stale_) forget_all();
    stale_ = false;
  }
  void set_folder_times();

  TarReader& archive_;
  const ExtractOptions& options_;
  bool exact_modes_ = false;
  uid_t uid_ = 0;
  gid_t gid_ = 0;
  uint64_t bytes_ = 0;
  std::unordered_map<std::string, Folder> folders_;
  const std::string* last_path_ = nullptr;
  Folder* last_ = nullptr;
  bool stale_ = false;
  std::vector<std::pair<std::string, Times>> folder_times_;
  std::set<std::string> made_;
};

}  // namespace gantry
