#include "hooks.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "errno_text.h"
#include "gantry/error.h"
#include "gantry/fd.h"
#include "program.h"

namespace gantry::runtime {
namespace {

constexpr std::size_t kMaxHookMessage = 4096;

std::string tail_of(int fd) {
  off_t size = ::lseek(fd, 0, SEEK_END);
  std::string text(static_cast<std::size_t>(std::min<off_t>(size, kMaxHookMessage)), '\0');
  ssize_t n = ::pread(fd, text.data(), text.size(), size - static_cast<off_t>(text.size()));
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

void run_hook(const Hook& hook, const std::string& name, const std::string& state) {
  // Files rather than pipes: a hook that does not read its input, or writes without end, blocks nobody.
  UniqueFd input(::memfd_create("hook state", MFD_CLOEXEC)), output(::memfd_create("hook output", MFD_CLOEXEC));
  if (!input || !output) throw_errno("memfd_create");
  if (::pwrite(input.get(), state.data(), state.size(), 0) != static_cast<ssize_t>(state.size())) {
    throw_errno("write the state for", name);
  }
  const std::vector<std::string> args = hook.args.empty() ? std::vector<std::string>{hook.path} : hook.args;
  auto argv = pointers(args);
  auto env = pointers(hook.env);
  pid_t pid = ::fork();
  if (pid < 0) throw_errno("fork for", name);
  if (pid == 0) {
    ::dup2(input.get(), 0);
    ::dup2(output.get(), 1);
    ::dup2(output.get(), 2);
    ::syscall(SYS_close_range, 3u, ~0u, 0u);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execve(hook.path.c_str(), argv.data(), env.data());
    std::string text = "exec " + hook.path + ": " + errno_text(errno);
    if (::write(2, text.data(), text.size()) < 0) ::_exit(126);
    ::_exit(127);
  }
  bool timed_out = false;
  if (hook.timeout) {
    UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    struct pollfd wait = {pidfd.get(), POLLIN, 0};
    int limit = *hook.timeout > 2000000 ? -1 : static_cast<int>(*hook.timeout * 1000);
    int n;
    while ((n = ::poll(&wait, 1, limit)) < 0 && errno == EINTR) {
    }
    if (n == 0) {
      timed_out = true;
      ::kill(pid, SIGKILL);
    }
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) throw_errno("wait for", name);
  }
  if (timed_out)
    throw InvalidInput("error running " + name + ": hook ran past specified timeout of " +
                       std::to_string(*hook.timeout) + "s");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  std::string how = WIFEXITED(status) ? "exit status " + std::to_string(WEXITSTATUS(status))
                                      : "signal " + std::to_string(WTERMSIG(status));
  throw InvalidInput("error running " + name + ": " + how + ", output: " + tail_of(output.get()));
}

}  // namespace

void run_hooks(const std::vector<Hook>& hooks, const char* kind, const std::string& state) {
  for (std::size_t i = 0; i < hooks.size(); ++i) {
    run_hook(hooks[i], std::string(kind) + " hook #" + std::to_string(i), state);
  }
}

}  // namespace gantry::runtime
