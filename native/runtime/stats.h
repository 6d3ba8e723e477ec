#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "state.h"

namespace gantry::runtime {

/// What a container uses, as one "stats" event (JSON, one line).
std::string stats_event(const State& state);

/// A control file's "key value" lines; none when there is no such file.
std::vector<std::pair<std::string, std::uint64_t>> control_table(const std::string& dir, const std::string& file);

}  // namespace gantry::runtime
