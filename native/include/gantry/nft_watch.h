#pragma once

#include <functional>
#include <string>
#include <thread>

#include "gantry/fd.h"

namespace gantry::nft {

/// Hears, on a thread of its own, of changes of the tables of one name that another process made: rules flushed,
/// elements taken away, the table deleted.
class Watch {
 public:
  /// `changed` is called on the watch's thread, once for each transaction, and when the kernel could not tell all of
  /// them.
  Watch(std::string table, std::function<void()> changed);
  /// Waits until the thread has ended; `changed` is not called after it.
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  void run();

  std::string table_;
  std::function<void()> changed_;
  UniqueFd socket_;
  UniqueFd stop_;
  std::thread thread_;
};

}  // namespace gantry::nft
