#pragma once

#include <stdint.h>

namespace shim {

/// One descriptor in the loop. It lives in its owner; the owner keeps it at one address and closes the descriptor.
struct Watch {
  int fd = -1;
  void (*ready)(void* owner, uint32_t events) = nullptr;
  void* owner = nullptr;
  /// What epoll was told; 0 is "not registered": a registered descriptor reports a hang-up even when nothing is asked
  /// for, which would spin.
  uint32_t events = 0;
};

bool loop_open();
/// Sets what is waited for; 0 takes it out. Must be called with 0 before the descriptor is closed.
bool watch_set(Watch& watch, uint32_t events);
/// Waits up to `timeout_ms` (-1 for ever) and calls who is ready. Owners tolerate a call without cause: a watch may
/// have changed hands within one round. Returns the number of calls.
int loop_turn(int timeout_ms);

}  // namespace shim
