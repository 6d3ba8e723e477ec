#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gantry/netlink.h"

namespace gantry {

/// One direction of an encrypted path between two hosts: ESP in transport mode, AES-GCM with 128 bits of proof.
struct XfrmState {
  std::string source;
  std::string destination;
  uint32_t spi = 0;
  /// Tells whose it is.
  uint32_t reqid = 0;
  /// 36 bytes: the key and then four bytes of salt. Empty in a listing.
  std::string key;
};

/// What becomes of UDP packets to one port.
struct XfrmPolicy {
  /// Of packets that leave; else of those that arrive.
  bool out = false;
  /// CIDRs.
  std::string source;
  std::string destination;
  uint16_t port = 0;
  /// The lower one decides.
  uint32_t priority = 0;
  /// They are dropped; else they must be encrypted, from `source` to `destination`, which are addresses then.
  bool block = false;
  uint32_t reqid = 0;
  /// With which state packets leave; 0 for any of `reqid`.
  uint32_t spi = 0;
};

/// Encryption of the namespace that the calling thread is in.
class Xfrm {
 public:
  Xfrm();

  /// EEXIST when there is one of that destination and SPI.
  void add_state(const XfrmState& state);
  /// Absent is fine.
  void delete_state(const XfrmState& state);
  /// In place of one of the same direction, addresses and port.
  void put_policy(const XfrmPolicy& policy);
  /// Absent is fine.
  void delete_policy(const XfrmPolicy& policy);

  std::vector<XfrmState> states(uint32_t reqid);
  /// Those for UDP packets to `port`.
  std::vector<XfrmPolicy> policies(uint16_t port);

 private:
  void check(int err, const char* operation, const std::string& subject);

  NetlinkSocket socket_;
};

}  // namespace gantry
