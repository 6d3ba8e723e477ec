// gantry-seccomp: reads linux.seccomp (JSON) and writes the compiled filter in the form of a cache entry. A program of
// its own so that gantry-runtime is a static one that starts quickly; libseccomp is only needed for a profile never
// seen before.
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <set>

#include "errno_text.h"
#include "gantry/error.h"
#include "gantry/fd.h"
#include "json.h"
#include "seccomp_filter.h"

namespace gantry::runtime {
namespace {

using Filter = std::unique_ptr<void, decltype(&::seccomp_release)>;

std::uint32_t parse_action(const Json& json, std::uint32_t value) {
  std::string name = json.string();
  static const std::map<std::string, std::uint32_t> plain = {
      {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
      {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
      {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
      {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
      {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
      {"SCMP_ACT_LOG", SCMP_ACT_LOG},
      {"SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY},
  };
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(value);
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(value);
  auto known = plain.find(name);
  if (known == plain.end()) throw InvalidInput(json.path() + ": unknown action " + name);
  return known->second;
}

scmp_compare parse_operator(const Json& json) {
  static const std::map<std::string, scmp_compare> known = {
      {"SCMP_CMP_NE", SCMP_CMP_NE},
      {"SCMP_CMP_LT", SCMP_CMP_LT},
      {"SCMP_CMP_LE", SCMP_CMP_LE},
      {"SCMP_CMP_EQ", SCMP_CMP_EQ},
      {"SCMP_CMP_GE", SCMP_CMP_GE},
      {"SCMP_CMP_GT", SCMP_CMP_GT},
      {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
  };
  std::string name = json.string();
  auto found = known.find(name);
  if (found == known.end()) throw InvalidInput(json.path() + ": unknown operator " + name);
  return found->second;
}

std::uint32_t parse_architecture(const Json& json) {
  std::string name = json.string();
  if (name.rfind("SCMP_ARCH_", 0) == 0) {
    std::string small;
    for (char c : name.substr(10)) small += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    if (std::uint32_t token = ::seccomp_arch_resolve_name(small.c_str())) return token;
  }
  throw InvalidInput(json.path() + ": unknown architecture " + name);
}

unsigned parse_flags(const Json& json) {
  unsigned flags = 0;
  json.each([&](const Json& flag) {
    std::string name = flag.string();
    for (const auto& [known, value] : kSeccompFlags) {
      if (name != known) continue;
      flags |= value;
      return;
    }
    throw InvalidInput(flag.path() + ": unknown flag " + name);
  });
  // The process has one thread.
  return flags & ~static_cast<unsigned>(SECCOMP_FILTER_FLAG_TSYNC);
}

void check(int result, const std::string& what) {
  if (result < 0) throw SysError(-result, what);
}

/// Adds one name of a rule. Names that this library does not know are left out: a profile is written for all kernels.
void add_rule(scmp_filter_ctx filter, std::uint32_t action, const std::string& name,
              const std::vector<scmp_arg_cmp>& arguments) {
  int number = ::seccomp_syscall_resolve_name(name.c_str());
  if (number == __NR_SCMP_ERROR) return;
  std::string what = "add rule for " + name;
  std::set<unsigned> indices;
  bool repeated = false;
  for (const auto& argument : arguments) repeated = !indices.insert(argument.arg).second || repeated;
  if (!repeated) {
    check(::seccomp_rule_add_array(filter, action, number, static_cast<unsigned>(arguments.size()), arguments.data()),
          what);
    return;
  }
  // The library takes one condition for each argument. Several for the same are alternatives, as everybody's runtime
  // reads them.
  for (const auto& argument : arguments) check(::seccomp_rule_add_array(filter, action, number, 1, &argument), what);
}

sock_filter instruction(int code, std::uint32_t k, int yes = 0, int no = 0) {
  return {static_cast<std::uint16_t>(code), static_cast<std::uint8_t>(yes), static_cast<std::uint8_t>(no), k};
}

/// A profile cannot know calls younger than itself. Refusing them with EPERM makes libraries fail that would have used
/// an older call after ENOSYS, so what lies beyond the highest number the profile mentions answers ENOSYS, before the
/// filter.
std::vector<sock_filter> answer_unknown_calls(const std::map<std::uint32_t, int>& highest) {
  constexpr std::uint32_t kX32Bit = 0x40000000;
  constexpr std::uint32_t kNoSuchCall = SECCOMP_RET_ERRNO | ENOSYS;
  std::vector<sock_filter> code = {instruction(BPF_LD | BPF_W | BPF_ABS, 4)};
  std::vector<std::size_t> exits;
  auto leave = [&] {
    exits.push_back(code.size());
    code.push_back(instruction(BPF_JMP | BPF_JA, 0));
  };
  auto limit = [&](std::uint32_t number) {
    code.push_back(instruction(BPF_JMP | BPF_JGT | BPF_K, number, 0, 1));
    code.push_back(instruction(BPF_RET | BPF_K, kNoSuchCall));
    leave();
  };
  auto x32 = highest.find(SCMP_ARCH_X32);
  for (const auto& [architecture, number] : highest) {
    if (architecture == SCMP_ARCH_X32) continue;
    std::size_t begin = code.size();
    code.push_back(instruction(BPF_JMP | BPF_JEQ | BPF_K, architecture, 0, 0));
    code.push_back(instruction(BPF_LD | BPF_W | BPF_ABS, 0));
    if (architecture == SCMP_ARCH_X86_64) {
      // x32 shares the architecture's number and is told by a bit of the call's.
      code.push_back(instruction(BPF_JMP | BPF_JSET | BPF_K, kX32Bit, 3, 0));
      limit(static_cast<std::uint32_t>(number));
      if (x32 == highest.end()) {
        leave();
      } else {
        limit(static_cast<std::uint32_t>(x32->second));
      }
    } else {
      limit(static_cast<std::uint32_t>(number));
    }
    code[begin].jf = static_cast<std::uint8_t>(code.size() - begin - 1);
  }
  for (std::size_t at : exits) code[at].k = static_cast<std::uint32_t>(code.size() - at - 1);
  return code;
}

SeccompFilter compile(const std::string& profile) {
  JsonDocument document(profile, "seccomp");
  Json json = document.root();
  std::uint32_t default_errno = json["defaultErrnoRet"].uint32_if().value_or(EPERM);
  std::uint32_t default_action = parse_action(json["defaultAction"], default_errno);
  if (default_action == SCMP_ACT_NOTIFY) throw InvalidInput("SCMP_ACT_NOTIFY cannot be used as default action");
  bool notifies = false;

  Filter filter(::seccomp_init(default_action), &::seccomp_release);
  if (!filter) throw InvalidInput("seccomp: the default action is not possible");
  check(::seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_NNP, 0), "prepare the filter");
  std::map<std::uint32_t, int> highest = {{::seccomp_arch_native(), -1}};
  json["architectures"].each([&](const Json& architecture) {
    std::uint32_t token = parse_architecture(architecture);
    highest.emplace(token, -1);
    int r = ::seccomp_arch_add(filter.get(), token);
    if (r != -EEXIST) check(r, "add architecture " + architecture.string());
  });
  json["syscalls"].each([&](const Json& rule) {
    for (const auto& name : rule["names"].strings()) {
      for (auto& [architecture, number] : highest) {
        number = std::max(number, ::seccomp_syscall_resolve_name_arch(architecture, name.c_str()));
      }
    }
    std::uint32_t action = parse_action(rule["action"], rule["errnoRet"].uint32_if().value_or(EPERM));
    for (const auto& name : rule["names"].strings()) {
      // By this call the runtime is told of the listener: nobody would be there to answer for it.
      if (action == SCMP_ACT_NOTIFY && name == "write") {
        throw InvalidInput("SCMP_ACT_NOTIFY cannot be used for the write syscall");
      }
    }
    notifies = notifies || action == SCMP_ACT_NOTIFY;
    // The library refuses rules that say what happens anyway.
    if (action == default_action) return;
    std::vector<scmp_arg_cmp> arguments;
    rule["args"].each([&](const Json& arg) {
      std::uint32_t index = arg["index"].uint32();
      if (index > 5) arg["index"].refuse("0 to 5");
      scmp_compare op = parse_operator(arg["op"]);
      std::uint64_t value = arg["value"].uint64_if().value_or(0), two = arg["valueTwo"].uint64_if().value_or(0);
      arguments.push_back({index, op, value, op == SCMP_CMP_MASKED_EQ ? two : 0});
    });
    for (const auto& name : rule["names"].strings()) add_rule(filter.get(), action, name, arguments);
  });

  UniqueFd code(::memfd_create("filter", MFD_CLOEXEC));
  if (!code) throw_errno("memfd_create");
  check(::seccomp_export_bpf(filter.get(), code.get()), "compile the filter");
  SeccompFilter result;
  result.flags = parse_flags(json["flags"]);
  if (notifies) {
    result.flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
  } else {
    result.flags &= ~kWaitKillable;
  }
  off_t size = ::lseek(code.get(), 0, SEEK_END);
  result.program.resize(static_cast<std::size_t>(size) / sizeof(sock_filter));
  if (::pread(code.get(), result.program.data(), static_cast<std::size_t>(size), 0) != size) {
    throw_errno("read the compiled filter");
  }
  bool refuses =
      default_action != SCMP_ACT_ALLOW && default_action != SCMP_ACT_LOG && default_action != SCMP_ACT_ERRNO(ENOSYS);
  std::erase_if(highest, [](const auto& entry) { return entry.second < 0; });
  if (refuses && !highest.empty()) {
    auto code_before = answer_unknown_calls(highest);
    result.program.insert(result.program.begin(), code_before.begin(), code_before.end());
  }
  return result;
}

std::string read_all(int fd) {
  std::string text;
  char chunk[16384];
  for (ssize_t n; (n = ::read(fd, chunk, sizeof chunk)) != 0;) {
    if (n < 0) throw_errno("read", "standard input");
    text.append(chunk, static_cast<std::size_t>(n));
  }
  return text;
}

}  // namespace
}  // namespace gantry::runtime

int main() {
  using namespace gantry::runtime;
  try {
    // The runtime shares its file offset with us.
    ::lseek(0, 0, SEEK_SET);
    std::string profile = read_all(0);
    std::string entry = encode_filter(profile, compile(profile));
    for (std::size_t done = 0; done < entry.size();) {
      ssize_t n = ::write(1, entry.data() + done, entry.size() - done);
      if (n < 0) gantry::throw_errno("write", "standard output");
      done += static_cast<std::size_t>(n);
    }
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", describe(e).c_str());
    return 1;
  }
}
