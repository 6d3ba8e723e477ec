#pragma once

#include <functional>
#include <memory>

#include "control.h"

namespace gantry {

/// The main function of a program beside the daemon: it outlives the daemon and is told by it through the socket that
/// is its one argument. Descriptor 3 is closed when it listens.
///
/// It reads what hostile programs send, so it keeps no right that it can do without: sockets with a meaning are made by
/// the daemon and handed over, and it runs as nobody, without capabilities and without a way to new ones.
int run_companion(const char* name, int argc, char** argv,
                  const std::function<std::unique_ptr<Requests>(Loop&)>& make_requests);

}  // namespace gantry
