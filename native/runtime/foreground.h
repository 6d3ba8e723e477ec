#pragma once

#include "child.h"

namespace gantry::runtime {

/// Stands for a process on the caller's terminal or pipes until it ends: signals sent to us go to it, and where it has
/// a terminal of its own, bytes and window sizes pass between that and ours, which is raw meanwhile.
class Foreground {
 public:
  /// Blocks signals, so that none is lost between the clone and wait(); made before the clone.
  Foreground();
  ~Foreground();
  Foreground(const Foreground&) = delete;
  Foreground& operator=(const Foreground&) = delete;

  /// Processes that lose their parent become ours, and are reaped: without a pid namespace nobody else near would.
  void adopt_orphans();
  /// The socket that init sends its terminal to; call for a process with a terminal.
  UniqueFd console();
  /// Exit code, as a shell counts.
  int wait(Child& child);

 private:
  void take_terminal();
  void resize();
  bool relay(int from, int to);
  void pass_signal(const Child& child);

  UniqueFd signals_, receiver_, master_;
  bool raw_ = false;
};

}  // namespace gantry::runtime
