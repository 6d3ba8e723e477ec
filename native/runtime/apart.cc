#include "apart.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <exception>
#include <string>

#include "errno_text.h"
#include "gantry/error.h"
#include "gantry/fd.h"

namespace gantry::runtime {

void run_apart(const std::function<void()>& body) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno("pipe");
  UniqueFd out(ends[0]), in(ends[1]);
  pid_t pid = ::fork();
  if (pid < 0) throw_errno("fork");
  if (pid == 0) {
    std::string failure;
    try {
      body();
    } catch (const std::exception& e) {
      failure = describe(e);
    }
    ::_exit(::write(in.get(), failure.data(), failure.size()) == static_cast<ssize_t>(failure.size()) && failure.empty()
                ? 0
                : 1);
  }
  in.reset();
  char text[1024];
  ssize_t n = ::read(out.get(), text, sizeof text);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) throw_errno("wait for process", std::to_string(pid));
  }
  if (n > 0) throw InvalidInput(std::string(text, static_cast<std::size_t>(n)));
  if (status != 0) throw InvalidInput("a process that the runtime needed died");
}

}  // namespace gantry::runtime
