#include "passed_fds.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <string>

#include "command_line.h"
#include "gantry/error.h"

namespace gantry::runtime {
namespace {

/// No process has more (fs.nr_open's default), so that no sum overflows.
constexpr int kMost = 1 << 20;

/// A number in the environment; -1 when it says none.
int number_of(const char* variable) {
  const char* text = ::getenv(variable);
  if (!text) return -1;
  int n = 0;
  auto [end, err] = std::from_chars(text, text + std::strlen(text), n);
  return err != std::errc() || *end != '\0' ? -1 : n;
}

}  // namespace

int listening_fds() {
  // Left over from a service that started whoever calls us: those were for it.
  if (::getenv("LISTEN_PID") && number_of("LISTEN_PID") != ::getpid()) return 0;
  int n = number_of("LISTEN_FDS");
  return n > 0 && n <= kMost ? n : 0;
}

int passed_fds(int preserved) {
  if (preserved < 0) throw UsageError("preserve-fds must not be negative");
  if (preserved > kMost) throw UsageError("preserve-fds is more than a process can have open");
  int count = preserved + listening_fds();
  for (int i = 0; i < count; ++i) {
    if (::fcntl(3 + i, F_GETFD) >= 0) continue;
    throw InvalidInput("descriptor " + std::to_string(3 + i) + " is not open, and " + std::to_string(count) +
                       " from 3 on are to be passed");
  }
  return count;
}

}  // namespace gantry::runtime
