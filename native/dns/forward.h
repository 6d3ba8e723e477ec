#pragma once

#include <functional>
#include <vector>

#include "loop.h"
#include "message.h"
#include "table.h"

namespace gantry::dns {

/// Asks servers outside one after the other, from this process's own network, over UDP or TCP as the question came.
/// Each try has a socket of its own, so a port and a number of its own, which a forger would have to guess. `done` is
/// called once with what was answered (with the number of the question), or with nothing when no server did.
void start_forward(Loop& loop, View query, std::vector<Upstream> servers, bool tcp,
                   std::function<void(const Bytes* answer)> done);

}  // namespace gantry::dns
