#pragma once

#include <string>

namespace gantry::runtime {

/// A process on its way into a container shows the program it runs as /proc/PID/exe, and an image may even have
/// /proc/self/exe executed as its entry point. Whoever opens that link for writing afterwards owns the host
/// (CVE-2019-5736). So this program first executes itself again from a read-only mount of its file that is attached
/// nowhere: the link leads through that mount, which nobody can make writable, since it is in no mount namespace. Where
/// the kernel refuses, a sealed copy in memory does the same, more slowly. Returns when that is the case already.
///
/// All descriptors from 3 + passed_fds on are closed by it: nothing that we inherited waits beside a container.
void hide_own_file(char** argv, int passed_fds);

/// A detached mount has no path, so the link no longer tells where we are installed; this variable does.
constexpr char kHomeVariable[] = "_GANTRY_RUNTIME_HOME";

/// A program of the same installation.
std::string sibling_program(const std::string& name);

}  // namespace gantry::runtime
