#pragma once

namespace gantry::runtime {

/// How many descriptors from 3 on a service manager handed over (LISTEN_FDS); none when the variable says no
/// number, or that they are for another process (LISTEN_PID).
int listening_fds();

/// How many descriptors from 3 on are for the container: `preserved` (--preserve-fds), then those of listening_fds().
/// Throws for a negative number, and for the first one that is not open: the caller miscounted, and what this program
/// opens next would be taken for it.
int passed_fds(int preserved);

}  // namespace gantry::runtime
