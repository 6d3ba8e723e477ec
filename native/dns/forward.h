#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "loop.h"
#include "message.h"
#include "source_pool.h"
#include "table.h"

namespace gantry::dns {

/// Asks servers outside one after the other, over UDP or TCP as the question came: from a sandbox's own network by one
/// of the pool's sockets, or without a pool from this process's. Each try has a port and a number of its own, which a
/// forger would have to guess. `done` is called once with what was answered (with the number of the question), or with
/// nothing when no server did. False, and no call, when the pool has no socket free.
bool start_forward(Loop& loop, View query, std::vector<Upstream> servers, bool tcp, std::shared_ptr<SourcePool> pool,
                   std::function<void(const Bytes* answer)> done);

}  // namespace gantry::dns
