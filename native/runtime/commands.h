#pragma once

#include <string>
#include <vector>

#include "command_line.h"
#include "create.h"

namespace gantry::runtime {

/// One command: its flags, how many arguments it needs, and what it does. The result is the exit code.
struct Command {
  const char* name;
  /// For the usage text.
  const char* synopsis;
  std::vector<Flag> flags;
  std::size_t least_arguments;
  int (*run)(const Context& context, const CommandLine& line);
  /// It puts a process into a container, and must not show the program's own file there.
  bool enters_container;
};

int create_command(const Context&, const CommandLine&);
int run_command(const Context&, const CommandLine&);
int start_command(const Context&, const CommandLine&);
int state_command(const Context&, const CommandLine&);
int kill_command(const Context&, const CommandLine&);
int delete_command(const Context&, const CommandLine&);
int exec_command(const Context&, const CommandLine&);
int list_command(const Context&, const CommandLine&);
int pause_command(const Context&, const CommandLine&);
int resume_command(const Context&, const CommandLine&);
int ps_command(const Context&, const CommandLine&);
int spec_command(const Context&, const CommandLine&);
int features_command(const Context&, const CommandLine&);
int update_command(const Context&, const CommandLine&);
int events_command(const Context&, const CommandLine&);
int checkpoint_command(const Context&, const CommandLine&);
int restore_command(const Context&, const CommandLine&);

/// Reads exec.fifo to its end, which lets init go on to the program. Throws when there is nothing to start.
void release_init(const Context& context, const State& state);

/// "TERM", "SIGTERM" or "15"; throws InvalidInput for anything else.
int signal_number(const std::string& text);

}  // namespace gantry::runtime
