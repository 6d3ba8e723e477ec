#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace gantry::runtime {

/// One flag of a command: "bundle" and 'b', with or without a value.
struct Flag {
  const char* name;
  char letter;
  bool takes_value;
};

/// Flags and arguments of one command. Flags come before arguments, as with runc: what follows the first argument is
/// the container's.
class CommandLine {
 public:
  /// Throws UsageError for an unknown flag or a missing value.
  CommandLine(const std::vector<Flag>& flags, const std::vector<std::string>& words);

  bool has(const std::string& flag) const;
  /// The last value given; empty when absent.
  std::string value(const std::string& flag) const;
  std::vector<std::string> values(const std::string& flag) const;
  /// Throws UsageError unless the value is a number.
  int number(const std::string& flag, int fallback) const;
  const std::vector<std::string>& arguments() const { return arguments_; }

 private:
  std::vector<std::pair<std::string, std::string>> given_;
  std::vector<std::string> arguments_;
};

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace gantry::runtime
