#include "seccomp_filter.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "naive.h"
#include "spec.h"

namespace gantry::runtime {
namespace {

// BPF_MAXINSNS of the kernel.
constexpr std::uint32_t kMaxInstructions = 4096;
constexpr std::size_t kMaxEntryBytes = kMaxConfigBytes + kMaxInstructions * sizeof(sock_filter) + 4096;

struct EntryHeader {
  char magic[8];
  char maker[48];
  std::uint32_t flags;
  std::uint32_t instructions;
  std::uint64_t profile_bytes;
  /// Of everything that follows.
  std::uint64_t checksum;
};

std::uint64_t fnv1a(std::string_view text, std::uint64_t hash = 0xcbf29ce484222325u) {
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3u;
  return hash;
}

/// What the outcome depends on besides the profile.
std::string maker() {
  struct utsname machine;
  if (::uname(&machine) != 0) throw_errno("uname");
  return std::string(machine.machine) + " libseccomp " + std::to_string(SCMP_VER_MAJOR) + "." +
         std::to_string(SCMP_VER_MINOR) + "." + std::to_string(SCMP_VER_MICRO) + " form 3";
}

/// Reads a kept entry if nobody but root could have written it.
bool read_entry(const std::string& path, std::string& entry) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  struct stat st;
  if (!fd || ::fstat(fd.get(), &st) != 0) return false;
  if (!S_ISREG(st.st_mode) || st.st_uid != ::geteuid() || (st.st_mode & 022)) return false;
  if (st.st_size <= 0 || static_cast<std::size_t>(st.st_size) > kMaxEntryBytes) return false;
  entry.resize(static_cast<std::size_t>(st.st_size));
  return ::read(fd.get(), entry.data(), entry.size()) == static_cast<ssize_t>(entry.size());
}

/// Keeping is a convenience: a full disk must not keep a container from running.
void keep_entry(const std::string& folder, const std::string& path, const std::string& entry) {
  ::mkdir(folder.c_str(), 0700);
  std::string temporary = path + "." + std::to_string(::getpid());
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return;
  bool whole = ::write(fd.get(), entry.data(), entry.size()) == static_cast<ssize_t>(entry.size());
  if (!whole || ::rename(temporary.c_str(), path.c_str()) != 0) ::unlink(temporary.c_str());
}

UniqueFd memory_file(const char* name) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC));
  if (!fd) throw_errno("memfd_create", name);
  return fd;
}

/// Runs gantry-seccomp: the profile on its standard input, the entry or a message out. Apart, because libseccomp takes
/// longer to load than a container to start, and only a new profile needs it.
std::string compile(const std::string& profile, const std::string& program) {
  UniqueFd input = memory_file("seccomp profile"), output = memory_file("seccomp filter"),
           errors = memory_file("seccomp errors");
  if (::pwrite(input.get(), profile.data(), profile.size(), 0) != static_cast<ssize_t>(profile.size())) {
    throw_errno("write the seccomp profile");
  }
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, input.get(), 0);
  ::posix_spawn_file_actions_adddup2(&actions, output.get(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, errors.get(), 2);
  char name[] = "gantry-seccomp";
  char* argv[] = {name, nullptr};
  char* env[] = {nullptr};
  pid_t pid = 0;
  int err = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, argv, env);
  ::posix_spawn_file_actions_destroy(&actions);
  if (err) throw SysError(err, "run the seccomp compiler", program);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) throw_errno("wait for the seccomp compiler");
  }
  auto content = [](int fd) {
    std::string text;
    char chunk[8192];
    ::lseek(fd, 0, SEEK_SET);
    for (ssize_t n; text.size() < kMaxEntryBytes && (n = ::read(fd, chunk, sizeof chunk)) > 0;) {
      text.append(chunk, static_cast<std::size_t>(n));
    }
    return text;
  };
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::string text = content(errors.get());
    while (!text.empty() && text.back() == '\n') text.pop_back();
    throw InvalidInput("seccomp: " + (text.empty() ? "the compiler failed" : text));
  }
  return content(output.get());
}

}  // namespace

std::string encode_filter(const std::string& profile, const SeccompFilter& filter) {
  std::string code(reinterpret_cast<const char*>(filter.program.data()), filter.program.size() * sizeof(sock_filter));
  EntryHeader header = {};
  std::memcpy(header.magic, "GNTRYBPF", sizeof header.magic);
  maker().copy(header.maker, sizeof header.maker - 1);
  header.flags = filter.flags;
  header.instructions = static_cast<std::uint32_t>(filter.program.size());
  header.profile_bytes = profile.size();
  header.checksum = fnv1a(code, fnv1a(profile, header.flags));
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + profile + code;
}

bool decode_filter(const std::string& entry, const std::string& profile, SeccompFilter& filter) {
  EntryHeader header;
  if (entry.size() < sizeof header) return false;
  std::memcpy(&header, entry.data(), sizeof header);
  if (std::memcmp(header.magic, "GNTRYBPF", sizeof header.magic) != 0) return false;
  header.maker[sizeof header.maker - 1] = 0;
  if (maker() != header.maker) return false;
  if (header.instructions == 0 || header.instructions > kMaxInstructions) return false;
  std::size_t code_bytes = header.instructions * sizeof(sock_filter);
  if (header.profile_bytes != profile.size() || entry.size() != sizeof header + profile.size() + code_bytes)
    return false;
  std::string_view rest(entry.data() + sizeof header, entry.size() - sizeof header);
  // The whole profile is compared, so the hash in the file's name need not be a cryptographic one.
  if (rest.substr(0, profile.size()) != profile) return false;
  std::string_view code = rest.substr(profile.size());
  if (fnv1a(code, fnv1a(profile, header.flags)) != header.checksum) return false;
  filter.flags = header.flags;
  filter.program.resize(header.instructions);
  std::memcpy(filter.program.data(), code.data(), code_bytes);
  return true;
}

SeccompFilter load_seccomp_filter(const std::string& profile, const SeccompCompiler& compiler) {
  char name[32];
  std::snprintf(name, sizeof name, "/%016llx.bpf", static_cast<unsigned long long>(fnv1a(maker(), fnv1a(profile))));
  std::string path = compiler.cache + name, entry;
  SeccompFilter filter;
  if (read_entry(path, entry) && decode_filter(entry, profile, filter)) return filter;
  entry = compile(profile, compiler.program);
  if (!decode_filter(entry, profile, filter)) throw InvalidInput("seccomp: the compiler gave no valid filter");
  keep_entry(compiler.cache, path, entry);
  return filter;
}

bool SeccompFilter::notifies() const { return flags & SECCOMP_FILTER_FLAG_NEW_LISTENER; }

UniqueFd apply_seccomp(const SeccompFilter& filter) {
  if (kNaive || filter.program.empty()) return UniqueFd();
  struct sock_fprog program = {};
  program.len = static_cast<unsigned short>(filter.program.size());
  program.filter = const_cast<sock_filter*>(filter.program.data());
  long r = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, filter.flags, &program);
  if (r < 0) throw_errno("load seccomp filter");
  return UniqueFd(filter.notifies() ? static_cast<int>(r) : -1);
}

}  // namespace gantry::runtime
