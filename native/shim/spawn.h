#pragma once

#include <sys/types.h>

namespace shim {

/// Remembers what children are to get back (the signal mask and the score for the kernel's choice under memory
/// pressure), then protects the shim itself as far as the machine allows.
void spawn_prepare();

/// Starts a program with exactly three descriptors (-1 is /dev/null) and the shim's environment. Returns the pid, or -1
/// with errno when it cannot be executed.
pid_t spawn(const char* const* argv, int in, int out, int err);

}  // namespace shim
