#pragma once

#include <string>
#include <vector>

#include "spec.h"

namespace gantry::runtime {

/// Runs hooks one after another with the container's state document on their standard input. Throws for the first that
/// fails, with what it wrote to standard error; one that outlives its timeout is killed.
void run_hooks(const std::vector<Hook>& hooks, const char* kind, const std::string& state);

}  // namespace gantry::runtime
