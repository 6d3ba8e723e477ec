#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "spec.h"

namespace gantry::runtime {

/// Finds what to execute within the current root, with the permissions of the current user: the PATH of `env` for a
/// plain name, the path itself otherwise. Throws ExecutableError in the words that Docker clients parse.
std::string find_executable(const std::string& name, const std::vector<std::string>& env);

class ExecutableError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Value of a variable in an environment list, the last one given; null when absent.
const char* environment_value(const std::vector<std::string>& env, const std::string& name);

/// Adds HOME from the root's /etc/passwd, or "/", when the environment has none.
void set_home(std::vector<std::string>& env, uid_t uid);

/// Of variables given more than once only the last stays: programs disagree on which of them counts.
void keep_last_of_each(std::vector<std::string>& env);

/// Null-terminated pointers into `strings`, for execve.
std::vector<char*> pointers(const std::vector<std::string>& strings);

}  // namespace gantry::runtime
