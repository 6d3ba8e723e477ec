/// gantry-init: the first process of a container that asked for one (`--init`). It starts the container's program,
/// passes signals on to it, reaps whatever becomes an orphan, and ends as the program does.
///
///   gantry-init [-g] [--] PROGRAM [ARGUMENT...]
///
///   -g  signals go to the program's whole process group
///
/// Exit: the program's code, 128 + n when signal n killed it, 127 or 126 when it could not be executed.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

/// Not passed on: they are about this process, not meant for it, or have a handling of their own.
bool stays_here(int signal) {
  switch (signal) {
    case SIGCHLD:
    case SIGFPE:
    case SIGILL:
    case SIGSEGV:
    case SIGBUS:
    case SIGABRT:
    case SIGTRAP:
    case SIGSYS:
    // The terminal's refusals: init is no member of its foreground group once the program has taken it over.
    case SIGTTIN:
    case SIGTTOU:
      return true;
    default:
      return false;
  }
}

sigset_t waited_for() {
  sigset_t set;
  sigfillset(&set);
  const int left_alone[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU};
  for (int signal : left_alone) sigdelset(&set, signal);
  return set;
}

/// A group of its own and, with a terminal, the foreground: typed signals then reach the program and not init, and a
/// shell can do job control.
void take_foreground() {
  setpgid(0, 0);
  // No terminal, or one that is not ours to give: both are ordinary.
  tcsetpgrp(STDIN_FILENO, getpgrp());
}

[[noreturn]] void become(char** argv, const sigset_t& before) {
  take_foreground();
  signal(SIGTTIN, SIG_DFL);
  signal(SIGTTOU, SIG_DFL);
  sigprocmask(SIG_SETMASK, &before, nullptr);
  execvp(argv[0], argv);
  int err = errno;
  dprintf(STDERR_FILENO, "gantry-init: exec %s: %s\n", argv[0], strerror(err));
  _exit(err == ENOENT ? 127 : 126);
}

/// Returns the exit code once the program is among those that ended, else -1.
int reap(pid_t program) {
  int code = -1;
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return code;
    if (pid == program) code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
}

}  // namespace

int main(int argc, char** argv) {
  bool whole_group = false;
  int at = 1;
  for (; at < argc && argv[at][0] == '-'; ++at) {
    if (strcmp(argv[at], "--") == 0) {
      ++at;
      break;
    }
    if (strcmp(argv[at], "-g") != 0) {
      dprintf(STDERR_FILENO, "gantry-init: unknown option %s\n", argv[at]);
      return 1;
    }
    whole_group = true;
  }
  if (at >= argc) {
    dprintf(STDERR_FILENO, "usage: gantry-init [-g] [--] PROGRAM [ARGUMENT...]\n");
    return 1;
  }
  // As pid 1 orphans come anyway; run as any other process, they come with this.
  if (getpid() != 1) prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);

  // Blocked before the fork, so that none is lost between the start of the program and the first wait.
  sigset_t set = waited_for();
  sigset_t before;
  sigprocmask(SIG_SETMASK, &set, &before);
  signal(SIGTTIN, SIG_IGN);
  signal(SIGTTOU, SIG_IGN);

  pid_t program = fork();
  if (program < 0) {
    dprintf(STDERR_FILENO, "gantry-init: fork: %s\n", strerror(errno));
    return 1;
  }
  if (program == 0) become(argv + at, before);

  for (;;) {
    int signal = sigwaitinfo(&set, nullptr);
    if (signal < 0) continue;
    if (signal == SIGCHLD) {
      int code = reap(program);
      if (code >= 0) return code;
    } else if (!stays_here(signal)) {
      kill(whole_group ? -program : program, signal);
    }
  }
}
