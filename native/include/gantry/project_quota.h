#pragma once

#include <cstdint>
#include <string>

namespace gantry {

/// Project quota of ext4 and xfs: all files of one project, a number that new files take from their folder, share a
/// limit.

/// Why the file system that holds `path` does not enforce project limits; empty when it does.
std::string project_quota_refusal(const std::string& path);

/// Gives the folder, and all that will be made in it, to a project.
void set_project(const std::string& path, uint32_t project);

/// The project of a file or folder, 0 when it has none.
uint32_t project_of(const std::string& path);

/// Limits what the files of a project take on the file system of `path`, in bytes; 0 takes the limit away.
void limit_project(const std::string& path, uint32_t project, uint64_t bytes);

struct ProjectUsage {
  /// What its files take on disk.
  uint64_t bytes = 0;
  uint64_t files = 0;
  /// 0 without one.
  uint64_t limit = 0;
};

/// What is known of a project on the file system of `path`; all 0 when nobody uses the number.
ProjectUsage project_usage(const std::string& path, uint32_t project);

}  // namespace gantry
