#pragma once

#include <map>
#include <memory>
#include <string>

#include "control.h"
#include "port.h"

namespace gantry::proxy {

/// What the daemon tells of published ports. See PROTOCOL.md.
class ProxyRequests final : public Requests {
 public:
  explicit ProxyRequests(Loop& loop) : Requests(loop, "1"), loop_(loop) {}

  bool idle() const override { return ports_.empty(); }

 protected:
  void line(const Words& words) override;
  Words state() const override;

 private:
  Loop& loop_;
  Common common_;
  std::map<std::string, std::unique_ptr<Port>> ports_;
};

}  // namespace gantry::proxy
