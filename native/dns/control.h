#pragma once

#include <deque>
#include <functional>
#include <string>

#include "loop.h"
#include "server.h"
#include "table.h"

namespace gantry::dns {

/// One request of the daemon: lines of words between single spaces, with descriptors beside them. See PROTOCOL.md.
class Request {
 public:
  Request(Table& table, Server& server) : table_(table), server_(server) {}

  /// Carries out all lines, or up to the first that is wrong. Returns the answer: `ok` and what was asked, or `error`
  /// and the reason. `quit` is set by that command.
  std::string run(const std::string& text, std::deque<UniqueFd> descriptors);
  bool quit() const noexcept { return quit_; }

 private:
  void line(const std::vector<std::string>& words);

  Table& table_;
  Server& server_;
  std::deque<UniqueFd> descriptors_;
  std::string answer_;
  bool quit_ = false;
};

/// The socket that the daemon talks to. Who may connect is a matter of the folder that it is in. With no sandbox to
/// serve and no daemon connected for a while, the program ends.
class Control final : public Source {
 public:
  Control(UniqueFd listening, Loop& loop, Table& table, Server& server);

  void on_ready(uint32_t events) override;
  void on_deadline() override;

  /// To be called once it was added to the loop.
  void watch_idle();
  void opened() { connections_++; }
  void closed();

 private:
  Loop& loop_;
  Table& table_;
  Server& server_;
  unsigned connections_ = 0;
};

}  // namespace gantry::dns
