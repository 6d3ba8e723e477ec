#pragma once

#include <string>

namespace gantry::runtime {

/// Where messages go: a file in runc's form, and standard error.
struct LogOptions {
  std::string path;
  bool json = false;
  bool debug = false;
};
/// Throws SysError when the file cannot be written.
void set_log(LogOptions options);

void log_warning(const std::string& message);
void log_debug(const std::string& message);
/// The last message of a failed call: to the log file and as one line to standard error.
void log_failure(const std::string& message);

}  // namespace gantry::runtime
