#pragma once

#include <exception>
#include <string>

namespace gantry::runtime {

/// The kernel's answer in the words that container clients search for: "no such file or directory", "permission
/// denied".
std::string errno_text(int err);

/// One line for a log: a SysError as "operation path: errno text", any other exception as its own message.
std::string describe(const std::exception& error);

}  // namespace gantry::runtime
