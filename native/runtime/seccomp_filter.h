#pragma once

#include <linux/filter.h>

#include <string>
#include <utility>
#include <vector>

#include "gantry/fd.h"

namespace gantry::runtime {

/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, which older headers lack.
inline constexpr unsigned kWaitKillable = 1u << 5;

/// The specification's flags of a filter.
inline constexpr std::pair<const char*, unsigned> kSeccompFlags[] = {
    {"SECCOMP_FILTER_FLAG_TSYNC", 1u << 0},
    {"SECCOMP_FILTER_FLAG_LOG", 1u << 1},
    {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", 1u << 2},
    {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", kWaitKillable},
};

/// A compiled filter, ready for seccomp(2).
struct SeccompFilter {
  /// SECCOMP_FILTER_FLAG bits.
  unsigned flags = 0;
  /// Some calls are to be answered by somebody else.
  bool notifies() const;
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

/// Applies it to this process for good. Gives the descriptor by which calls with SCMP_ACT_NOTIFY are answered; invalid
/// when the filter has none.
UniqueFd apply_seccomp(const SeccompFilter& filter);

/// Form of a cache entry, which is also what gantry-seccomp writes. Exposed for tests.
std::string encode_filter(const std::string& profile, const SeccompFilter& filter);
/// False when the entry is damaged, or for something else.
bool decode_filter(const std::string& entry, const std::string& profile, SeccompFilter& filter);

}  // namespace gantry::runtime
