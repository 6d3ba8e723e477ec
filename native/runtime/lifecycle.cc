#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cctype>
#include <cstring>

#include "commands.h"
#include "errno_text.h"
#include "foreground.h"
#include "gantry/error.h"
#include "hooks.h"
#include "log.h"

namespace gantry::runtime {
namespace {

void print(const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    ssize_t n = ::write(1, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("write", "standard output");
    done += static_cast<std::size_t>(n);
  }
}

CreateOptions create_options(const CommandLine& line) {
  CreateOptions options;
  options.bundle = line.value("bundle");
  options.console_socket = line.value("console-socket");
  options.pid_file = line.value("pid-file");
  options.pidfd_socket = line.value("pidfd-socket");
  options.no_pivot = line.has("no-pivot");
  options.no_new_keyring = line.has("no-new-keyring");
  options.preserve_fds = line.number("preserve-fds", 0);
  return options;
}

/// Waits for the end of a process that need not be our child.
bool await_end(int pidfd, int milliseconds) {
  struct pollfd wait = {pidfd, POLLIN, 0};
  int n;
  while ((n = ::poll(&wait, 1, milliseconds)) < 0 && errno == EINTR) {
  }
  return n > 0;
}

}  // namespace

int create_command(const Context& context, const CommandLine& line) {
  Created created = create_container(context, line.arguments()[0], create_options(line));
  created.init.release();
  return 0;
}

void release_init(const Context& context, const State& state) {
  std::string path = context.root.folder(state.id) + "/exec.fifo";
  // Opening waits for the writer. O_NONBLOCK does not, and then the writer is awaited beside its own death.
  UniqueFd fifo(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
  if (!fifo) throw_errno("open", path);
  UniqueFd init = open_init(state);
  struct pollfd wait[2] = {{fifo.get(), POLLIN, 0}, {init.get(), POLLIN, 0}};
  bool got = false;
  for (;;) {
    char byte;
    ssize_t n = ::read(fifo.get(), &byte, 1);
    if (n > 0) {
      got = true;
      continue;
    }
    if (n == 0 && got) break;
    if (n < 0 && errno != EAGAIN && errno != EINTR) throw_errno("read", path);
    if (!init || (wait[1].revents & POLLIN)) throw InvalidInput("container process is already dead");
    // At an end without a writer yet, poll would report the hang-up at once; only the other side's opening helps then.
    wait[0].fd = fifo.get();
    ::poll(wait, 2, n == 0 ? 1 : -1);
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw_errno("unlink", path);
}

int start_command(const Context& context, const CommandLine& line) {
  State state = context.root.load(line.arguments()[0]);
  switch (status_of(context.root, state)) {
    case Status::kCreated:
      break;
    case Status::kStopped:
      throw InvalidInput("cannot start a container that has stopped");
    default:
      throw InvalidInput("cannot start an already running container");
  }
  release_init(context, state);
  Spec spec = parse_spec(state.config);
  if (!spec.hooks.poststart.empty()) {
    try {
      run_hooks(spec.hooks.poststart, "poststart", state_document(state, "running", false));
    } catch (const std::exception&) {
      if (UniqueFd init = open_init(state)) ::syscall(SYS_pidfd_send_signal, init.get(), SIGKILL, nullptr, 0);
      throw;
    }
  }
  return 0;
}

int state_command(const Context& context, const CommandLine& line) {
  State state = context.root.load(line.arguments()[0]);
  print(state_document(state, status_name(status_of(context.root, state)), true) + "\n");
  return 0;
}

int signal_number(const std::string& text) {
  if (!text.empty() && text.find_first_not_of("0123456789") == std::string::npos && text.size() <= 3) {
    int n = std::stoi(text);
    if (n >= 0 && n < NSIG) return n;
  }
  std::string name;
  for (char c : text) name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (name.rfind("SIG", 0) == 0) name = name.substr(3);
  for (int n = 1; n < NSIG; ++n) {
    const char* known = ::sigabbrev_np(n);
    if (known && name == known) return n;
  }
  if (name == "IOT") return SIGABRT;
  if (name == "CLD") return SIGCHLD;
  if (name.rfind("RTMIN", 0) == 0 || name.rfind("RTMAX", 0) == 0) {
    std::string rest = name.substr(5);
    if (rest.empty()) return name[3] == 'I' ? SIGRTMIN : SIGRTMAX;
    if ((rest[0] == '+' || rest[0] == '-') && rest.size() > 1 && rest.size() < 4 &&
        rest.find_first_not_of("0123456789", 1) == std::string::npos) {
      int n = (name[3] == 'I' ? SIGRTMIN : SIGRTMAX) + std::stoi(rest);
      if (n >= SIGRTMIN && n <= SIGRTMAX) return n;
    }
  }
  throw InvalidInput("unknown signal \"" + text + "\"");
}

int kill_command(const Context& context, const CommandLine& line) {
  const auto& arguments = line.arguments();
  State state = context.root.load(arguments[0]);
  int signal = signal_number(arguments.size() > 1 ? arguments[1] : "SIGTERM");
  if (line.has("all")) {
    Cgroups cgroups = state.cgroup_dirs();
    if (signal == SIGKILL) {
      if (!cgroups.kill_all(std::chrono::seconds(10))) throw InvalidInput("processes of the container do not end");
    } else {
      cgroups.signal_all(signal);
    }
    return 0;
  }
  UniqueFd init = open_init(state);
  if (!init) throw InvalidInput("container not running");
  if (::syscall(SYS_pidfd_send_signal, init.get(), signal, nullptr, 0) != 0) {
    if (errno == ESRCH) throw InvalidInput("container not running");
    throw_errno("signal process", std::to_string(state.pid));
  }
  // Nothing in a frozen cgroup of v1 dies before it is thawed.
  if (signal == SIGKILL && status_of(context.root, state) == Status::kPaused) state.cgroup_dirs().freeze(false);
  return 0;
}

int delete_command(const Context& context, const CommandLine& line) {
  const std::string& id = line.arguments()[0];
  bool force = line.has("force");
  UniqueFd lock;
  try {
    lock = context.root.lock(id, std::chrono::seconds(10));
  } catch (const NoSuchContainer&) {
    if (force) return 0;
    throw;
  }
  State state;
  try {
    state = context.root.load(id);
  } catch (const NoSuchContainer&) {
    if (!force) throw;
    // A folder without a record is what a creation leaves that was killed in its first moments: nothing else was made.
    context.root.remove(id);
    return 0;
  }
  Status status = status_of(context.root, state);
  if (!force && status != Status::kStopped && status != Status::kCreated) {
    throw InvalidInput("cannot delete container " + id + " that is not stopped: " + status_name(status));
  }
  if (UniqueFd init = open_init(state)) {
    ::syscall(SYS_pidfd_send_signal, init.get(), SIGKILL, nullptr, 0);
    if (status == Status::kPaused) state.cgroup_dirs().freeze(false);
    if (!await_end(init.get(), 10000)) throw InvalidInput("container init still running");
  }
  destroy_container(context, state);
  return 0;
}

int run_command(const Context& context, const CommandLine& line) {
  CreateOptions options = create_options(line);
  options.direct = true;
  bool detach = line.has("detach");
  std::optional<Foreground> foreground;
  if (!detach) {
    foreground.emplace();
    if (!line.has("no-subreaper")) foreground->adopt_orphans();
    if (options.console_socket.empty()) options.make_console = [&] { return foreground->console(); };
  }
  Created created = create_container(context, line.arguments()[0], options);
  created.sync.send(SyncType::kGo);
  std::string failure;
  SyncMessage message = created.sync.receive();
  if (message.type == SyncType::kError) failure = message.text;
  if (failure.empty() && !created.spec.hooks.poststart.empty()) {
    try {
      run_hooks(created.spec.hooks.poststart, "poststart", state_document(created.state, "running", false));
    } catch (const std::exception& e) {
      failure = describe(e);
    }
  }
  if (!failure.empty()) {
    created.init = Child();
    destroy_container(context, created.state);
    throw StartError(failure);
  }
  if (detach) {
    created.init.release();
    return 0;
  }
  int code = foreground->wait(created.init);
  if (!line.has("keep")) destroy_ended(context, created.state);
  return code;
}

}  // namespace gantry::runtime
