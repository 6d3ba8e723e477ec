#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "commands.h"
#include "errno_text.h"
#include "gantry/error.h"
#include "log.h"
#include "naive.h"
#include "program.h"

namespace gantry::runtime {
namespace {

struct Listed {
  State state;
  Status status;
};

std::vector<Listed> all_containers(const Context& context) {
  std::vector<Listed> all;
  for (const auto& id : context.root.ids()) {
    try {
      State state = context.root.load(id);
      Status status = status_of(context.root, state);
      all.push_back({std::move(state), status});
    } catch (const NoSuchContainer&) {
      // Removed meanwhile, or hardly begun.
    } catch (const std::exception& e) {
      // One damaged record must not hide the others.
      log_warning("load container " + id + ": " + describe(e));
    }
  }
  return all;
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(text.size(), width), ' ');
  return text + "   ";
}

/// A word of a line of columns; empty when there are not so many.
std::string word_at(const std::string& row, std::size_t index) {
  std::size_t at = 0;
  for (std::size_t i = 0;; ++i) {
    at = row.find_first_not_of(" \t", at);
    if (at == std::string::npos) return "";
    auto end = std::min(row.find_first_of(" \t", at), row.size());
    if (i == index) return row.substr(at, end - at);
    at = end;
  }
}

std::optional<std::size_t> column_of(const std::string& header, const std::string& name) {
  std::string word;
  for (std::size_t i = 0; !(word = word_at(header, i)).empty(); ++i) {
    if (word == name) return i;
  }
  return std::nullopt;
}

/// What ps(1) of the host prints with these words.
/// The host's ps, found in our own PATH: one of the image's would run with our rights (CVE-2022-1227).
std::string run_ps(const std::vector<std::string>& words, pid_t init) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno("pipe");
  UniqueFd out(ends[0]), in(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in.get(), 1);
  pid_t pid = 0;
  auto argv = pointers(words);
  std::string program = kNaive ? "/proc/" + std::to_string(init) + "/root/bin/ps" : "ps";
  int err = ::posix_spawnp(&pid, program.c_str(), &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (err) throw SysError(err, "run", "ps");
  in.reset();
  std::string text;
  char chunk[8192];
  for (ssize_t n; (n = ::read(out.get(), chunk, sizeof chunk)) != 0;) {
    if (n < 0 && errno != EINTR) throw_errno("read", "the output of ps");
    if (n > 0) text.append(chunk, static_cast<std::size_t>(n));
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) throw_errno("wait for", "ps");
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw InvalidInput("ps failed");
  return text;
}

}  // namespace

int list_command(const Context& context, const CommandLine& line) {
  std::string format = line.value("format");
  if (!format.empty() && format != "table" && format != "json") throw UsageError("invalid format option");
  auto all = all_containers(context);
  if (line.has("quiet")) {
    for (const auto& one : all) std::printf("%s\n", one.state.id.c_str());
  } else if (format == "json") {
    std::string text = "[";
    for (const auto& one : all) {
      if (text.size() > 1) text += ",";
      text += state_document(one.state, status_name(one.status), true);
    }
    std::printf("%s]\n", text.c_str());
  } else {
    std::vector<std::vector<std::string>> rows = {{"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"}};
    for (const auto& one : all) {
      pid_t pid = one.status == Status::kStopped ? 0 : one.state.pid;
      rows.push_back({one.state.id, std::to_string(pid), status_name(one.status), one.state.bundle, one.state.created,
                      one.state.owner});
    }
    std::vector<std::size_t> widths(6, 0);
    for (const auto& row : rows) {
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    for (const auto& row : rows) {
      std::string text;
      for (std::size_t i = 0; i + 1 < row.size(); ++i) text += padded(row[i], widths[i]);
      std::printf("%s%s\n", text.c_str(), row.back().c_str());
    }
  }
  return 0;
}

int pause_command(const Context& context, const CommandLine& line) {
  State state = context.root.load(line.arguments()[0]);
  Status status = status_of(context.root, state);
  if (status != Status::kRunning && status != Status::kCreated) {
    throw InvalidInput(std::string("container not running or created: ") + status_name(status));
  }
  state.cgroup_dirs().freeze(true);
  return 0;
}

int resume_command(const Context& context, const CommandLine& line) {
  State state = context.root.load(line.arguments()[0]);
  // A frozen container that has not been started shows as created, and has to be thawed all the same.
  if (!open_init(state) || !state.cgroup_dirs().frozen()) throw InvalidInput("container not paused");
  state.cgroup_dirs().freeze(false);
  return 0;
}

int ps_command(const Context& context, const CommandLine& line) {
  State state = context.root.load(line.arguments()[0]);
  std::string format = line.value("format");
  if (!format.empty() && format != "table" && format != "json") throw UsageError("invalid format option");
  auto pids = state.cgroup_dirs().processes();
  if (format == "json") {
    std::string text = "[";
    for (pid_t pid : pids) text += (text.size() > 1 ? "," : "") + std::to_string(pid);
    std::printf("%s]\n", text.c_str());
    return 0;
  }
  std::vector<std::string> words = {"ps"};
  words.insert(words.end(), line.arguments().begin() + 1, line.arguments().end());
  if (words.size() == 1) words.push_back("-ef");
  std::string table = run_ps(words, state.pid);
  auto first = table.find('\n');
  std::string header = table.substr(0, first);
  auto column = column_of(header, "PID");
  if (!column) throw InvalidInput("ps: there is no PID column with these options");
  std::printf("%s\n", header.c_str());
  for (std::size_t start = first == std::string::npos ? table.size() : first + 1; start < table.size();) {
    auto end = std::min(table.find('\n', start), table.size());
    std::string row = table.substr(start, end - start);
    start = end + 1;
    pid_t pid = std::atoi(word_at(row, *column).c_str());
    if (std::find(pids.begin(), pids.end(), pid) != pids.end()) std::printf("%s\n", row.c_str());
  }
  return 0;
}

}  // namespace gantry::runtime
