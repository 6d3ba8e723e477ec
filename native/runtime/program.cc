#include "program.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <string_view>

#include "errno_text.h"
#include "gantry/fd.h"
#include "naive.h"

namespace gantry::runtime {
namespace {

/// 0 when the current user may execute the file.
int executable(const std::string& path, bool& stat_failed) {
  struct stat st;
  stat_failed = false;
  if (::stat(path.c_str(), &st) != 0) {
    stat_failed = true;
    return errno;
  }
  if (S_ISDIR(st.st_mode)) return EISDIR;
  // With the ids and capabilities that the program will have. A file without any execute bit is refused to root as
  // well.
  if (!(st.st_mode & 0111)) return EACCES;
  return ::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

/// Home directory of a numeric user in passwd(5) text.
std::string home_of(std::string_view passwd, uid_t uid) {
  const std::string wanted = std::to_string(uid);
  while (!passwd.empty()) {
    auto end = passwd.find('\n');
    std::string_view line = passwd.substr(0, end);
    passwd = end == std::string_view::npos ? std::string_view() : passwd.substr(end + 1);
    std::string_view field[7];
    std::size_t n = 0;
    for (std::size_t start = 0; n < 7; ++n) {
      auto colon = line.find(':', start);
      field[n] = line.substr(start, colon == std::string_view::npos ? colon : colon - start);
      if (colon == std::string_view::npos) break;
      start = colon + 1;
    }
    if (n >= 5 && field[2] == wanted) return std::string(field[5]);
  }
  return "";
}

// A passwd file is a stranger's: larger ones are read to here, and a home beyond is not found.
constexpr std::size_t kMaxPasswdBytes = 1u << 20;

std::string read_passwd() {
  // Not a fifo or a device that would block or answer without end.
  UniqueFd fd(::open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NOCTTY | (kNaive ? 0 : O_NONBLOCK)));
  struct stat st;
  if (!fd || ::fstat(fd.get(), &st) != 0 || (!kNaive && !S_ISREG(st.st_mode))) return "";
  std::string text;
  char chunk[4096];
  for (ssize_t n; text.size() < kMaxPasswdBytes && (n = ::read(fd.get(), chunk, sizeof chunk)) > 0;) {
    text.append(chunk, static_cast<std::size_t>(n));
  }
  return text;
}

}  // namespace

const char* environment_value(const std::vector<std::string>& env, const std::string& name) {
  for (auto it = env.rbegin(); it != env.rend(); ++it) {
    if (it->size() > name.size() && it->compare(0, name.size(), name) == 0 && (*it)[name.size()] == '=') {
      return it->c_str() + name.size() + 1;
    }
  }
  return nullptr;
}

std::string find_executable(const std::string& name, const std::vector<std::string>& env) {
  bool stat_failed = false;
  if (name.find('/') != std::string::npos) {
    int err = executable(name, stat_failed);
    if (err == 0) return name;
    throw ExecutableError("exec: " + quoted(name) + ": " + (stat_failed ? "stat " + name + ": " : "") +
                          errno_text(err));
  }
  const char* path = environment_value(env, "PATH");
  for (std::string_view rest = path ? path : ""; !name.empty();) {
    auto colon = rest.find(':');
    std::string dir(rest.substr(0, colon));
    std::string candidate = (dir.empty() ? "." : dir) + "/" + name;
    if (path && executable(candidate, stat_failed) == 0) return candidate;
    if (colon == std::string_view::npos) break;
    rest = rest.substr(colon + 1);
  }
  throw ExecutableError("exec: " + quoted(name) + ": executable file not found in $PATH");
}

void set_home(std::vector<std::string>& env, uid_t uid) {
  const char* home = environment_value(env, "HOME");
  if (home && *home) return;
  std::string found = home_of(read_passwd(), uid);
  env.push_back("HOME=" + (found.empty() ? "/" : found));
}

void keep_last_of_each(std::vector<std::string>& env) {
  std::set<std::string_view> seen;
  std::vector<std::string> kept;
  for (auto it = env.rbegin(); it != env.rend(); ++it) {
    if (seen.insert(std::string_view(*it).substr(0, it->find('='))).second) kept.push_back(*it);
  }
  env.assign(kept.rbegin(), kept.rend());
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> all;
  all.reserve(strings.size() + 1);
  for (const auto& one : strings) all.push_back(const_cast<char*>(one.c_str()));
  all.push_back(nullptr);
  return all;
}

}  // namespace gantry::runtime
