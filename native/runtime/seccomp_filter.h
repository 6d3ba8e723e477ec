#pragma once

#include <linux/filter.h>

#include <string>
#include <vector>

namespace gantry::runtime {

/// A compiled filter, ready for seccomp(2).
struct SeccompFilter {
  /// SECCOMP_FILTER_FLAG bits.
  unsigned flags = 0;
  std::vector<sock_filter> program;
};

/// Where filters are kept and what compiles one that is not kept yet.
struct SeccompCompiler {
  /// A folder only root can write.
  std::string cache;
  /// Path of gantry-seccomp.
  std::string program;
};

/// The filter for linux.seccomp (compact JSON). Taken from the cache when its entry is whole and was made from this
/// very text for this machine's architecture and libseccomp; compiled and kept otherwise.
SeccompFilter load_seccomp_filter(const std::string& profile, const SeccompCompiler& compiler);

/// Applies it to this process for good.
void apply_seccomp(const SeccompFilter& filter);

/// Form of a cache entry, which is also what gantry-seccomp writes. Exposed for tests.
std::string encode_filter(const std::string& profile, const SeccompFilter& filter);
/// False when the entry is damaged, or for something else.
bool decode_filter(const std::string& entry, const std::string& profile, SeccompFilter& filter);

}  // namespace gantry::runtime
