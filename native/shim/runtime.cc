#include "runtime.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "console.h"
#include "spawn.h"

namespace shim {
namespace {

constexpr size_t kMaxArguments = 64;

const char* program = nullptr;
const char* root = nullptr;
const char* bundle = nullptr;
const char* id = nullptr;
const char* extra[32];
size_t extra_count = 0;

/// argv under construction; what does not fit shows as an overlong count and is refused.
struct CommandLine {
  const char* arguments[kMaxArguments + 1];
  size_t count = 0;
  void add(const char* argument) {
    if (count < kMaxArguments) arguments[count++] = argument;
  }
  const char* const* finish() {
    arguments[count] = nullptr;
    return arguments;
  }
};

CommandLine begin(const char* log) {
  CommandLine line;
  line.add(program);
  for (size_t i = 0; i < extra_count; ++i) line.add(extra[i]);
  line.add("--root");
  line.add(root);
  if (log) {
    line.add("--log");
    line.add(log);
    line.add("--log-format");
    line.add("json");
  }
  return line;
}

struct Paths {
  char log[160];
  char pid_file[160];
  char console[160];
  char process[160];

  explicit Paths(const Process& of) {
    const char* base = of.name[0] != '\0' ? of.name : "runtime";
    char name[kMaxExecName + 16];
    auto path = [&](char* to, const char* suffix) {
      snprintf(name, sizeof name, "%s%s", base, suffix);
      run_path(to, 160, name);
    };
    path(log, ".log");
    path(pid_file, ".pid");
    path(process, ".json");
    run_path(console, sizeof console, of.console.name);
  }
};

}  // namespace

bool runtime_configure(const Fields& config) {
  program = config.find("runtime");
  root = config.find("root");
  bundle = config.find("bundle");
  id = config.find("id");
  extra_count = 0;
  for (size_t at = 0; at < config.size; at += strlen(config.bytes + at) + 1) {
    if (strncmp(config.bytes + at, "argument=", 9) != 0) continue;
    if (extra_count == sizeof extra / sizeof extra[0]) return false;
    extra[extra_count++] = config.bytes + at + 9;
  }
  return program && root && bundle && id && program[0] == '/' && id[0] != '-' && id[0] != '\0';
}

const char* runtime_container_id() { return id; }

pid_t runtime_create(const Process& process, const int fds[3]) {
  Paths paths(process);
  CommandLine line = begin(paths.log);
  line.add("create");
  line.add("--bundle");
  line.add(bundle);
  line.add("--pid-file");
  line.add(paths.pid_file);
  if (process.terminal) {
    line.add("--console-socket");
    line.add(paths.console);
  }
  line.add(id);
  return spawn(line.finish(), fds[0], fds[1], fds[2]);
}

pid_t runtime_start() {
  Paths paths(first_process());
  CommandLine line = begin(paths.log);
  line.add("start");
  line.add(id);
  return spawn(line.finish(), -1, -1, -1);
}

pid_t runtime_exec(const Process& process, const int fds[3]) {
  Paths paths(process);
  CommandLine line = begin(paths.log);
  line.add("exec");
  line.add("--detach");
  line.add("--process");
  line.add(paths.process);
  line.add("--pid-file");
  line.add(paths.pid_file);
  if (process.terminal) {
    line.add("--console-socket");
    line.add(paths.console);
  }
  line.add(id);
  return spawn(line.finish(), fds[0], fds[1], fds[2]);
}

pid_t runtime_delete() {
  char log[160];
  run_path(log, sizeof log, "delete.log");
  CommandLine line = begin(log);
  line.add("delete");
  line.add("--force");
  line.add(id);
  return spawn(line.finish(), -1, -1, -1);
}

void pid_file_path(const Process& process, char* to, size_t size) {
  snprintf(to, size, "%s.pid", process.name[0] != '\0' ? process.name : "runtime");
}

}  // namespace shim
