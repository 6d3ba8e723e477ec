#pragma once

#include <functional>

namespace gantry::runtime {

/// Runs `body` in a process of its own and waits for it: for what joins or makes namespaces that we must not be in.
/// Throws InvalidInput with the message of what it throws.
void run_apart(const std::function<void()>& body);

}  // namespace gantry::runtime
