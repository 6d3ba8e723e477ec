#pragma once

#include "plan.h"

namespace gantry::runtime {

/// What a new terminal becomes besides the standard streams.
struct TerminalUse {
  /// It is put on /dev/console.
  bool bind;
  /// It is the controlling terminal.
  bool control;
};

/// Gives the process a pseudo terminal of the container's own devpts and sends its master to the console socket: the
/// name as data, the descriptor as SCM_RIGHTS, as runc does. `root` is the container's root.
void set_up_console(int root, const Plan& plan, TerminalUse use);

/// Connects to an AF_UNIX stream socket; `what` is for messages.
UniqueFd connect_stream_socket(const std::string& path, const std::string& what);

/// One descriptor beside `name` as data.
void send_descriptor(int socket, const std::string& name, int fd);
UniqueFd receive_descriptor(int socket);

}  // namespace gantry::runtime
