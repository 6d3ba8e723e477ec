#pragma once

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace gantry {

/// A failed system call: what was tried, on what, and the kernel's answer. The binding turns it into an Error with
/// `code`, `syscall` and `path`.
class SysError : public std::runtime_error {
 public:
  SysError(int err, std::string operation, std::string path = {})
      : std::runtime_error(operation + (path.empty() ? "" : " " + path) + ": " + std::generic_category().message(err)),
        err_(err),
        operation_(std::move(operation)),
        path_(std::move(path)) {}

  int err() const noexcept { return err_; }
  const std::string& operation() const noexcept { return operation_; }
  const std::string& path() const noexcept { return path_; }

 private:
  int err_;
  std::string operation_;
  std::string path_;
};

/// Throws with the current errno.
[[noreturn]] inline void throw_errno(std::string operation, std::string path = {}) {
  throw SysError(errno, std::move(operation), std::move(path));
}

/// Input from outside that is not what it must be (an archive, a configuration). `kind` invalid-parameter at the API.
class InvalidInput : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace gantry
