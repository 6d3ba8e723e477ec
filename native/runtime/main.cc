#include <stdlib.h>
#include <unistd.h>

#include <cstdio>

#include "commands.h"
#include "errno_text.h"
#include "gantry/error.h"
#include "log.h"
#include "naive.h"
#include "namespaces.h"
#include "passed_fds.h"
#include "self_exe.h"

namespace gantry::runtime {
namespace {

#ifndef GANTRY_VERSION
#define GANTRY_VERSION "unknown"
#endif

const std::vector<Flag> kGlobalFlags = {
    {"root", 0, true},
    {"log", 0, true},
    {"log-format", 0, true},
    {"debug", 0, false},
    {"systemd-cgroup", 0, false},
    {"rootless", 0, true},
    {"seccomp-cache", 0, true},
    {"criu", 0, true},
    {"version", 'v', false},
    {"help", 'h', false},
};

const std::vector<Flag> kCreateFlags = {
    {"bundle", 'b', true},  {"console-socket", 0, true},  {"pid-file", 0, true},     {"pidfd-socket", 0, true},
    {"no-pivot", 0, false}, {"no-new-keyring", 0, false}, {"preserve-fds", 0, true},
};

const std::vector<Flag> kCheckpointFlags = {
    {"image-path", 0, true},  {"work-path", 0, true},   {"tcp-established", 0, false},    {"ext-unix-sk", 0, false},
    {"shell-job", 0, false},  {"file-locks", 0, false}, {"manage-cgroups-mode", 0, true}, {"empty-ns", 0, true},
    {"auto-dedup", 0, false}, {"lazy-pages", 0, false}, {"link-remap", 0, false},
};

std::vector<Flag> with(std::vector<Flag> flags, std::vector<Flag> more) {
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {
      {"create", "[flags] ID", kCreateFlags, 1, create_command, true},
      {"run", "[flags] ID",
       with(kCreateFlags, {{"detach", 'd', false}, {"keep", 0, false}, {"no-subreaper", 0, false}}), 1, run_command,
       true},
      {"start", "ID", {}, 1, start_command, false},
      {"state", "ID", {}, 1, state_command, false},
      {"kill", "[--all] ID [SIGNAL]", {{"all", 'a', false}}, 1, kill_command, false},
      {"delete", "[--force] ID", {{"force", 'f', false}}, 1, delete_command, false},
      {"exec",
       "[flags] ID COMMAND [ARG...] | --process FILE ID",
       {{"console-socket", 0, true},
        {"cwd", 0, true},
        {"env", 'e', true},
        {"tty", 't', false},
        {"user", 'u', true},
        {"additional-gids", 'g', true},
        {"process", 'p', true},
        {"detach", 'd', false},
        {"pid-file", 0, true},
        {"pidfd-socket", 0, true},
        {"cgroup", 0, true},
        {"process-label", 0, true},
        {"apparmor", 0, true},
        {"no-new-privs", 0, false},
        {"cap", 'c', true},
        {"preserve-fds", 0, true},
        {"ignore-paused", 0, false}},
       1,
       exec_command,
       true},
      {"list",
       "[--quiet] [--format table|json]",
       {{"quiet", 'q', false}, {"format", 'f', true}},
       0,
       list_command,
       false},
      {"pause", "ID", {}, 1, pause_command, false},
      {"resume", "ID", {}, 1, resume_command, false},
      {"spec", "[--bundle DIR] [--rootless]", {{"bundle", 'b', true}, {"rootless", 0, false}}, 0, spec_command, false},
      {"features", "", {}, 0, features_command, false},
      {"events",
       "[--stats] [--interval SECONDS] ID",
       {{"stats", 0, false}, {"interval", 0, true}},
       1,
       events_command,
       false},
      {"update",
       "[--resources FILE|-] [flags] ID",
       {{"resources", 'r', true},
        {"blkio-weight", 0, true},
        {"cpu-period", 0, true},
        {"cpu-quota", 0, true},
        {"cpu-burst", 0, true},
        {"cpu-share", 0, true},
        {"cpu-rt-period", 0, true},
        {"cpu-rt-runtime", 0, true},
        {"cpu-idle", 0, true},
        {"cpuset-cpus", 0, true},
        {"cpuset-mems", 0, true},
        {"memory", 0, true},
        {"memory-reservation", 0, true},
        {"memory-swap", 0, true},
        {"kernel-memory", 0, true},
        {"kernel-memory-tcp", 0, true},
        {"l3-cache-schema", 0, true},
        {"mem-bw-schema", 0, true},
        {"pids-limit", 0, true}},
       1,
       update_command,
       false},
      {"checkpoint", "[flags] ID",
       with(kCheckpointFlags, {{"parent-path", 0, true},
                               {"leave-running", 0, false},
                               {"page-server", 0, true},
                               {"pre-dump", 0, false},
                               {"tcp-skip-in-flight", 0, false}}),
       1, checkpoint_command, false},
      {"restore", "[flags] ID",
       with(kCheckpointFlags, {{"bundle", 'b', true},
                               {"detach", 'd', false},
                               {"pid-file", 0, true},
                               {"console-socket", 0, true},
                               {"no-subreaper", 0, false},
                               {"lsm-profile", 0, true},
                               {"lsm-mount-context", 0, true}}),
       1, restore_command, true},
      {"ps", "[--format table|json] ID [PS-OPTIONS]", {{"format", 'f', true}}, 1, ps_command, false},
  };
  return all;
}

void usage(FILE* out) {
  std::fputs(
      "usage: gantry-runtime [--root DIR] [--log FILE] [--log-format text|json] [--debug] COMMAND\n\ncommands:\n", out);
  for (const auto& command : commands()) std::fprintf(out, "  %s %s\n", command.name, command.synopsis);
}

void usage(const Command& command) {
  std::printf("usage: gantry-runtime [global flags] %s %s\n", command.name, command.synopsis);
  if (!command.flags.empty()) std::printf("\nflags:\n");
  for (const auto& flag : command.flags) {
    std::string letter = flag.letter ? std::string(", -") + flag.letter : "";
    std::printf("  --%s%s%s\n", flag.name, letter.c_str(), flag.takes_value ? " VALUE" : "");
  }
}

bool asks_for_help(const std::vector<std::string>& words) {
  return !words.empty() && (words[0] == "--help" || words[0] == "-h" || words[0] == "-help");
}

std::string default_root() {
  const char* runtime = ::geteuid() == 0 ? nullptr : ::getenv("XDG_RUNTIME_DIR");
  return runtime ? std::string(runtime) + "/gantry/runtime" : "/run/gantry/runtime";
}

/// Splits the words at the command's name: flags before it are global.
int dispatch(char** argv, const std::vector<std::string>& words) {
  CommandLine global(kGlobalFlags, words);
  LogOptions log{global.value("log"), false, global.has("debug")};
  std::string format = global.value("log-format");
  if (!format.empty() && format != "text" && format != "json")
    throw UsageError("unknown log-format \"" + format + "\"");
  log.json = format == "json";
  set_log(std::move(log));
  if (global.has("version")) {
    std::printf("gantry-runtime version %s%s\nspec: 1.2.0\n", GANTRY_VERSION, kNaive ? " (naive: for tests only)" : "");
    return 0;
  }
  const auto& rest = global.arguments();
  if (rest.empty() || global.has("help") || (rest[0] == "help" && rest.size() == 1)) {
    usage(stdout);
    return 0;
  }
  const std::vector<std::string> words_of_command(rest.begin() + 1, rest.end());
  if (rest[0] == "help" || asks_for_help(words_of_command)) {
    const std::string& name = rest[0] == "help" ? rest[1] : rest[0];
    for (const auto& command : commands()) {
      if (name == command.name) return usage(command), 0;
    }
    throw UsageError("no command " + name);
  }
  std::string rootless = global.value("rootless");
  if (!rootless.empty() && rootless != "true" && rootless != "auto" && rootless != "false") {
    throw UsageError("invalid value \"" + rootless + "\" for flag --rootless: true, false or auto");
  }
  for (const auto& command : commands()) {
    if (rest[0] != command.name) continue;
    CommandLine line(command.flags, words_of_command);
    if (line.arguments().size() < command.least_arguments) {
      throw UsageError(std::string(command.name) + ": needs " + command.synopsis);
    }
    if (command.enters_container) hide_own_file(argv, passed_fds(line.number("preserve-fds", 0)));
    Context context;
    std::string root = global.value("root");
    if (root.empty()) root = default_root();
    if (root[0] != '/') {
      char cwd[4096];
      if (!::getcwd(cwd, sizeof cwd)) throw_errno("getcwd");
      root = std::string(cwd) + "/" + root;
    }
    context.root = StateRoot(root);
    context.systemd_cgroup = global.has("systemd-cgroup");
    context.rootless = rootless == "true" || (rootless != "false" && (::geteuid() != 0 || in_user_namespace()));
    context.seccomp.cache = global.value("seccomp-cache");
    if (context.seccomp.cache.empty()) context.seccomp.cache = root + "/.seccomp";
    if (global.has("criu")) context.criu = global.value("criu");
    context.seccomp.program = sibling_program("gantry-seccomp");
    try {
      return command.run(context, line);
    } catch (const UsageError&) {
      throw;
    } catch (const std::exception& e) {
      std::string text = describe(e);
      if (command.enters_container)
        text = (command.run == exec_command ? "" : "gantry-runtime ") + rest[0] + " failed: " + text;
      log_failure(text);
      return command.run == exec_command ? 255 : 1;
    }
  }
  throw UsageError("no command " + rest[0]);
}

}  // namespace
}  // namespace gantry::runtime

int main(int argc, char** argv) {
  using namespace gantry::runtime;
  try {
    return dispatch(argv, {argv + (argc > 0 ? 1 : 0), argv + argc});
  } catch (const UsageError& e) {
    log_failure(e.what());
    return 1;
  } catch (const std::exception& e) {
    log_failure(describe(e));
    return 1;
  }
}
