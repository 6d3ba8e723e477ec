#include "foreground.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "console.h"
#include "gantry/error.h"

namespace gantry::runtime {
namespace {

struct termios& saved_terminal() {
  static struct termios saved;
  return saved;
}

/// Reaps children that have ended, up to the one that is waited for.
void reap_orphans(pid_t waited_for) {
  for (;;) {
    siginfo_t info = {};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0 || info.si_pid == waited_for) {
      return;
    }
    ::waitpid(info.si_pid, nullptr, WNOHANG);
  }
}

}  // namespace

Foreground::Foreground() {
  sigset_t all;
  ::sigfillset(&all);
  // Faults of our own stay ours.
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) ::sigdelset(&all, signal);
  if (::sigprocmask(SIG_BLOCK, &all, nullptr) != 0) throw_errno("block signals");
  signals_.reset(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) throw_errno("signalfd");
}

Foreground::~Foreground() {
  if (raw_) ::tcsetattr(0, TCSANOW, &saved_terminal());
}

void Foreground::adopt_orphans() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) throw_errno("become a subreaper");
}

UniqueFd Foreground::console() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) throw_errno("socketpair");
  receiver_.reset(fds[0]);
  return UniqueFd(fds[1]);
}

void Foreground::resize() {
  struct winsize size;
  if (master_ && ::ioctl(0, TIOCGWINSZ, &size) == 0) ::ioctl(master_.get(), TIOCSWINSZ, &size);
}

void Foreground::take_terminal() {
  if (!receiver_) return;
  master_ = receive_descriptor(receiver_.get());
  receiver_.reset();
  if (!master_) throw InvalidInput("the container's process sent no terminal");
  if (::isatty(0) && ::tcgetattr(0, &saved_terminal()) == 0) {
    struct termios raw = saved_terminal();
    ::cfmakeraw(&raw);
    if (::tcsetattr(0, TCSANOW, &raw) != 0) throw_errno("make the terminal raw");
    raw_ = true;
    resize();
  }
}

bool Foreground::relay(int from, int to) {
  char chunk[8192];
  ssize_t n = ::read(from, chunk, sizeof chunk);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  // A master answers EIO when nobody has the other end open.
  if (n <= 0) return false;
  for (ssize_t done = 0; done < n;) {
    ssize_t w = ::write(to, chunk + done, static_cast<std::size_t>(n - done));
    if (w < 0 && errno == EINTR) continue;
    if (w < 0) return false;
    done += w;
  }
  return true;
}

void Foreground::pass_signal(const Child& child) {
  struct signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCHLD) reap_orphans(child.pid());
    if (signal == SIGWINCH && master_) {
      resize();
    } else if (signal != SIGCHLD && signal != SIGPIPE && signal != SIGURG && signal != SIGWINCH) {
      ::syscall(SYS_pidfd_send_signal, child.pidfd(), signal, nullptr, 0);
    }
  }
}

int Foreground::wait(Child& child) {
  take_terminal();
  bool input = static_cast<bool>(master_), output = static_cast<bool>(master_), ended = false;
  while (!ended || output) {
    struct pollfd wait[4] = {{ended ? -1 : child.pidfd(), POLLIN, 0},
                             {signals_.get(), POLLIN, 0},
                             {output ? master_.get() : -1, POLLIN, 0},
                             {input && !ended ? 0 : -1, POLLIN, 0}};
    // What the terminal still holds after the end is read out; its other end may stay open in a process left behind.
    int n = ::poll(wait, 4, ended ? 0 : -1);
    if (n < 0 && errno != EINTR) throw_errno("poll");
    if (n < 0) continue;
    if (n == 0) break;
    if (wait[1].revents) pass_signal(child);
    if (wait[2].revents && !relay(master_.get(), 1)) output = false;
    if (wait[3].revents && !relay(0, master_.get())) {
      input = false;
      // The end of input is a character on a terminal.
      struct termios settings;
      if (::tcgetattr(master_.get(), &settings) == 0 && ::write(master_.get(), &settings.c_cc[VEOF], 1) < 0) continue;
    }
    if (wait[0].revents) ended = true;
  }
  return child.wait();
}

}  // namespace gantry::runtime
