// What the security tests put into a container: it has CAP_SYS_PTRACE there and watches for processes that come in from
// outside. Static, and only system calls.
//
//   intruder watch CANARY   stops every new process that has not executed its program yet, and writes to /found, a line
//                           each, what that one has and we have not; "seen" for each. CANARY is written backwards, so
//                           that only the memory of the runtime's own has it the right way round.
//   intruder keyring        prints the description of the session keyring
//   intruder calls          makes calls that exploits begin with, and prints the name and the errno of each, 0 for
//                           success
#include <dirent.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

namespace {

std::string content(const std::string& path) {
  std::string text;
  char chunk[4096];
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  for (ssize_t n; fd >= 0 && (n = ::read(fd, chunk, sizeof chunk)) > 0;)
    text.append(chunk, static_cast<std::size_t>(n));
  if (fd >= 0) ::close(fd);
  return text;
}

std::string link_target(const std::string& path) {
  char text[4096];
  ssize_t n = ::readlink(path.c_str(), text, sizeof text);
  return n > 0 ? std::string(text, static_cast<std::size_t>(n)) : "";
}

void report(const std::string& line) {
  int fd = ::open("/found", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  std::string text = line + "\n";
  if (fd < 0 || ::write(fd, text.data(), text.size()) < 0) ::_exit(1);
  ::close(fd);
}

/// PF_FORKNOEXEC of its flags, field 9: cloned, and no program executed since.
bool before_its_program(const std::string& dir) {
  std::string stat = content(dir + "/stat");
  auto at = stat.rfind(')');
  unsigned long flags = 0;
  return at != std::string::npos && std::sscanf(stat.c_str() + at, ") %*c %*d %*d %*d %*d %*d %lu", &flags) == 1 &&
         (flags & 0x40);
}

unsigned long long status_field(const std::string& dir, const char* name) {
  std::string status = content(dir + "/status");
  auto at = status.find(std::string("\n") + name + ":");
  return at == std::string::npos ? 0 : std::strtoull(status.c_str() + at + std::strlen(name) + 2, nullptr, 16);
}

bool same_file(const std::string& a, const std::string& b) {
  struct stat x, y;
  return ::stat(a.c_str(), &x) == 0 && ::stat(b.c_str(), &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

void compare_descriptors(const std::string& dir) {
  DIR* all = ::opendir((dir + "/fd").c_str());
  if (!all) return report("its descriptors cannot be listed");
  int sockets = 0;
  while (struct dirent* entry = ::readdir(all)) {
    if (entry->d_name[0] == '.' || std::atoi(entry->d_name) <= 2) continue;
    std::string target = link_target(dir + "/fd/" + entry->d_name);
    // The one by which it speaks with the runtime is no secret.
    if (target.rfind("socket:", 0) == 0 && ++sockets == 1) continue;
    report("descriptor " + std::string(entry->d_name) + " of " + target);
  }
  ::closedir(all);
}

void search_memory(const std::string& dir, const std::string& canary) {
  std::string maps = content(dir + "/maps");
  int memory = ::open((dir + "/mem").c_str(), O_RDONLY | O_CLOEXEC);
  if (memory < 0) return report("its memory cannot be read");
  for (std::size_t line = 0; line < maps.size(); line = maps.find('\n', line) + 1) {
    unsigned long from = 0, to = 0;
    char rights[5] = {};
    if (std::sscanf(maps.c_str() + line, "%lx-%lx %4s", &from, &to, rights) != 3 || rights[1] != 'w') continue;
    std::string bytes(to - from, 0);
    ssize_t n = ::pread(memory, bytes.data(), bytes.size(), static_cast<off_t>(from));
    if (n <= 0) continue;
    bytes.resize(static_cast<std::size_t>(n));
    if (bytes.find(canary) != std::string::npos) {
      report("the canary in its memory: " + maps.substr(line, maps.find('\n', line) - line));
      break;
    }
  }
  ::close(memory);
}

void inspect(pid_t pid, const std::string& canary) {
  std::string dir = "/proc/" + std::to_string(pid);
  if (::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) != 0) return;
  int status;
  if (::ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) == 0 && ::waitpid(pid, &status, __WALL) == pid &&
      WIFSTOPPED(status) && before_its_program(dir)) {
    compare_descriptors(dir);
    for (const char* set : {"CapPrm", "CapEff", "CapInh", "CapBnd"}) {
      if (status_field(dir, set) & ~status_field("/proc/self", set)) report(std::string("more in ") + set);
    }
    if (status_field(dir, "Seccomp") != status_field("/proc/self", "Seccomp")) report("no filter for its calls");
    if (!same_file(dir + "/root/.", "/.")) report("another root");
    for (const char* kind : {"mnt", "net", "ipc", "uts", "pid"}) {
      if (!same_file(dir + "/ns/" + kind, std::string("/proc/self/ns/") + kind))
        report(std::string("namespace ") + kind);
    }
    if (content(dir + "/cgroup") != content("/proc/self/cgroup")) report("another cgroup");
    search_memory(dir, canary);
    report("seen");
  }
  ::ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
}

[[noreturn]] void watch(std::string canary) {
  std::reverse(canary.begin(), canary.end());
  // Numbers are given out in order. Some may be passed over, by a clone that failed.
  constexpr pid_t kAhead = 32;
  report("watching");
  for (pid_t last = ::getpid();;) {
    for (pid_t pid = last + 1; pid <= last + kAhead; ++pid) {
      if (::kill(pid, 0) != 0) continue;
      inspect(pid, canary);
      last = pid;
    }
  }
}

int print_keyring() {
  char text[1024] = {};
  long n = ::syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, text, sizeof text - 1);
  std::puts(n > 0 ? text : "none");
  return 0;
}

/// What a call did, in a process of its own: it may well be killed for it.
void try_call(const char* name, const std::function<long()>& call) {
  std::fflush(stdout);
  pid_t pid = ::fork();
  if (pid == 0) {
    long result = call();
    std::printf("%s %d\n", name, result < 0 ? errno : 0);
    std::fflush(stdout);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (WIFSIGNALED(status)) std::printf("%s signal %d\n", name, WTERMSIG(status));
}

#if defined(__x86_64__)
/// socket(2) as a 32-bit program has it, through the call for all of a socket's. -1 and errno like the others.
long socket_of_32_bits(int family) {
  constexpr long kSocketCall = 102, kSocket = 1;
  auto* words = static_cast<std::uint32_t*>(
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
  words[0] = static_cast<std::uint32_t>(family);
  words[1] = SOCK_DGRAM;
  words[2] = 0;
  long result;
  asm volatile("int $0x80"
               : "=a"(result)
               : "a"(kSocketCall), "b"(kSocket), "c"(words)
               : "memory", "r8", "r9", "r10", "r11");
  // The result has 32 bits.
  result = static_cast<std::int32_t>(result);
  if (result >= 0) return result;
  errno = static_cast<int>(-result);
  return -1;
}
#endif

int try_calls() {
  try_call("socket-alg", [] { return ::socket(38, SOCK_SEQPACKET, 0); });
  try_call("socket-vsock", [] { return ::socket(40, SOCK_STREAM, 0); });
  try_call("socket-inet", [] { return ::socket(AF_INET, SOCK_DGRAM, 0); });
#if defined(__x86_64__)
  try_call("socket-inet-32", [] { return socket_of_32_bits(AF_INET); });
#endif
  char parameters[256] = {};
  try_call("io_uring_setup", [&] { return ::syscall(SYS_io_uring_setup, 1, parameters); });
  try_call("userfaultfd", [] { return ::syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY); });
  try_call("keyctl", [] { return ::syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1); });
  try_call("add_key", [] { return ::syscall(SYS_add_key, "user", "intruder", "x", 1, KEY_SPEC_PROCESS_KEYRING); });
  try_call("bpf", [&] { return ::syscall(SYS_bpf, 0, parameters, sizeof parameters); });
  try_call("unshare-user", [] { return ::unshare(CLONE_NEWUSER); });
  try_call("clone-user", [] {
    long pid = ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, 0);
    if (pid == 0) ::_exit(0);
    return pid;
  });
  try_call("clone3", [] { return ::syscall(SYS_clone3, nullptr, 0); });
  try_call("mount", [] { return ::mount("none", "/tmp", "tmpfs", 0, nullptr); });
  try_call("open_by_handle_at", [&] { return ::syscall(SYS_open_by_handle_at, AT_FDCWD, parameters, O_RDONLY); });
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "watch") == 0) watch(argv[2]);
  if (argc == 2 && std::strcmp(argv[1], "keyring") == 0) return print_keyring();
  if (argc == 2 && std::strcmp(argv[1], "calls") == 0) return try_calls();
  return 2;
}
