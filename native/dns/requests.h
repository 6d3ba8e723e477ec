#pragma once

#include "control.h"
#include "server.h"
#include "table.h"

namespace gantry::dns {

/// What the daemon tells of networks, endpoints and sandboxes. See PROTOCOL.md.
class DnsRequests final : public Requests {
 public:
  explicit DnsRequests(Loop& loop) : Requests(loop, "2"), server_(loop, table_) {}

  bool idle() const override { return server_.idle(); }
  /// What it was told so far.
  const Table& table() const noexcept { return table_; }

 protected:
  void line(const Words& words) override;
  Words state() const override;

 private:
  std::vector<UniqueFd> take_descriptors(const std::string& count);

  Table table_;
  Server server_;
};

}  // namespace gantry::dns
