#pragma once

#include <functional>
#include <string>

#include "child.h"
#include "seccomp_filter.h"
#include "state.h"

namespace gantry::runtime {

/// What one call of the program was given before its command.
struct Context {
  StateRoot root{""};
  SeccompCompiler seccomp;
  /// We may lack rights over the host: cgroups that cannot be made are done without.
  bool rootless = false;
  /// cgroupsPath is "slice:prefix:name", and systemd makes the cgroup.
  bool systemd_cgroup = false;
  /// The program for checkpoints: a path, or a name to be looked for in PATH.
  std::string criu = "criu";
};

struct CreateOptions {
  std::string bundle;
  std::string console_socket;
  std::string pid_file;
  /// A unix stream socket that a pidfd of the container's process is sent to.
  std::string pidfd_socket;
  bool no_pivot = false;
  bool no_new_keyring = false;
  int preserve_fds = 0;
  /// For `run`: init waits for word over the sync socket instead of exec.fifo.
  bool direct = false;
  /// Gives a connected console socket when the process wants a terminal and console_socket is empty.
  std::function<UniqueFd()> make_console;
};

/// A container whose init is ready.
struct Created {
  State state;
  Spec spec;
  Child init;
  Sync sync;
};

/// Reads a bundle's configuration into the plan of container `id` and the record of it, and says where its cgroups are
/// to be. Makes nothing.
Cgroups read_bundle(const Context& context, const std::string& id, const std::string& bundle, Plan& plan, State& state);

/// Makes a container up to the point before its program. On failure nothing is left.
Created create_container(const Context& context, const std::string& id, const CreateOptions& options);

/// Takes away what is left of one whose processes are gone: cgroups, state, and runs poststop hooks, whose failure is
/// only logged.
void destroy_container(const Context& context, const State& state);

/// The same for one whose first process was ours and has ended, unless somebody has deleted it since, or even put
/// another in its place: what was dumped may be restored before we see that it has ended.
void destroy_ended(const Context& context, const State& state);

/// Sends a pidfd to a unix stream socket, the word "pidfd" being the data.
void send_pidfd(const std::string& path, int pidfd);

/// Writes a pid into a file, all at once.
void write_pid_file(const std::string& path, pid_t pid);

/// Descriptors handed over by socket activation (LISTEN_FDS) go on to the program.
void pass_listen_fds(Plan& plan);

/// Hands the descriptor of a filter on to the agent that the specification names, with the process it is about and its
/// container's state (JSON).
void send_listener(const Plan& plan, UniqueFd listener, pid_t pid, const std::string& state);

/// Fills in what create and exec have in common: capabilities, seccomp filter, console. A terminal needs somebody to
/// send it to.
void prepare_process(Plan& plan, const Context& context, const std::string& console_socket,
                     const std::function<UniqueFd()>& make_console);

}  // namespace gantry::runtime
