#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "host_servers.h"
#include "loop.h"
#include "message.h"
#include "source_pool.h"
#include "table.h"

namespace gantry::dns {

/// Sends an answer to whoever asked; called once at most.
using Reply = std::function<void(const Bytes&)>;

/// The sockets of one sandbox: made in its network namespace by the daemon, served here.
struct SandboxSockets {
  std::string id;
  Source* udp = nullptr;
  Source* tcp = nullptr;
  std::unordered_set<Source*> connections;
  /// Sockets for questions to servers that the sandbox names itself.
  std::shared_ptr<SourcePool> sources;
  /// Questions that wait for servers outside.
  unsigned waiting = 0;
  /// Where a list of addresses starts this time, so that clients that take the first one spread over all.
  uint32_t turn = 0;
};

/// Answers the questions of all sandboxes, from the table or by handing them on.
class Server {
 public:
  Server(Loop& loop, Table& table) : loop_(loop), table_(table) {}

  /// Takes over a sandbox's two sockets in place of those that it had.
  bool attach(const std::string& id, UniqueFd udp, UniqueFd tcp);
  void detach(const std::string& id);
  /// Takes over what questions to the sandbox's own servers leave by. False when it is not attached.
  bool put_sources(const std::string& id, std::vector<UniqueFd> udp, std::vector<UniqueFd> tcp);
  bool attached(const std::string& id) const { return sockets_.contains(id); }
  bool idle() const noexcept { return sockets_.empty(); }
  std::vector<std::string> sandboxes() const;

  /// Decides on one message of a sandbox. `reply` may be kept until a server outside has answered.
  void handle(const std::shared_ptr<SandboxSockets>& sockets, View message, bool tcp, Reply reply);

 private:
  void forward(const std::shared_ptr<SandboxSockets>& sockets, const Sandbox& sandbox, View message, bool tcp,
               Reply reply);

  Loop& loop_;
  Table& table_;
  HostServers host_servers_;
  /// Questions of all sandboxes that wait for servers outside.
  unsigned waiting_ = 0;
  std::unordered_map<std::string, std::shared_ptr<SandboxSockets>> sockets_;
};

}  // namespace gantry::dns
