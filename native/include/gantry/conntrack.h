#pragma once

#include <cstdint>
#include <string>

namespace gantry {

/// Which tracked flows of one family to forget; '' and 0 match everything.
struct FlowFilter {
  bool v6 = false;
  uint8_t protocol = 0;
  /// Where the first packet went, before any translation.
  std::string original_destination;
  uint16_t original_port = 0;
  /// Who answers: the container's address, for a published port.
  std::string reply_source;
};

/// Removes the flows that match and returns how many. Reads the whole table, so it is for rare events.
int flush_flows(const FlowFilter& filter);

}  // namespace gantry
