#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <stdio.h>
#include <unistd.h>

#include "commands.h"
#include "errno_text.h"
#include "gantry/error.h"
#include "log.h"

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
  if (line.arguments().size() > 1) throw UsageError("ps: options of ps(1) are not implemented; use --format json");
  std::printf("PID       STATE  COMMAND\n");
  for (pid_t pid : pids) {
    if (auto info = process_info(pid)) std::printf("%-9d %c      %s\n", pid, info->state, info->name.c_str());
  }
  return 0;
}

}  // namespace gantry::runtime
