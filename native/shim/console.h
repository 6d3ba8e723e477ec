#pragma once

#include <stddef.h>
#include <stdint.h>

#include "loop.h"

namespace shim {

/// The socket on which an OCI runtime hands over a pseudo-terminal's master.
struct Console {
  Watch listener;
  /// The runtime's connection while the message is awaited.
  Watch peer;
  /// -1 until it came; taken by the owner.
  int master = -1;
  /// Given to the terminal when it comes; 0 leaves it as it is.
  uint16_t rows = 0;
  uint16_t columns = 0;
  char name[96] = {};
};

/// Listens on `name` in the run folder.
bool console_open(Console& console, const char* name);
/// Looks for what has already arrived; called when the runtime has ended and the loop may not have come round yet.
void console_settle(Console& console);
/// Closes the socket and removes its file; the master, if any, stays.
void console_close(Console& console);

/// A path to `name` in the run folder that fits into a socket address however deep the folder is.
void run_path(char* to, size_t size, const char* name);

}  // namespace shim
