#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "message.h"

namespace gantry::dns {

/// Somebody in a network: who answers to which names at which addresses.
struct Endpoint {
  std::string network;
  /// What a reverse query says, without the network.
  std::string owner;
  std::optional<Address> v4;
  std::optional<Address> v6;
  /// Lower case.
  std::vector<std::string> names;
};

struct Subnet {
  Address first;
  unsigned prefix = 0;
};

struct Network {
  std::string name;
  /// Reverse queries in these are ours to answer, also for addresses that nobody has.
  std::vector<Subnet> subnets;
};

/// A network that a sandbox is in, with the names that only this sandbox has for others there.
struct Place {
  std::string network;
  /// Alias and the name that it stands for, both lower case.
  std::vector<std::pair<std::string, std::string>> links;
};

struct Upstream {
  sockaddr_storage address{};
  socklen_t size = 0;
};

/// What one sandbox sees.
struct Sandbox {
  std::vector<Place> places;
  /// False where the sandbox must not reach outside, by names neither.
  bool forwards = false;
  /// Whom to ask for everything else; empty for the servers of the host.
  std::vector<Upstream> servers;
};

/// Names of all networks and what each sandbox may know of them. Everything is keyed by the ids that the daemon gives.
class Table {
 public:
  void put_network(const std::string& id, Network network);
  void drop_network(const std::string& id);
  void put_endpoint(const std::string& id, Endpoint endpoint);
  void drop_endpoint(const std::string& id);
  void put_sandbox(const std::string& id, Sandbox sandbox);
  void drop_sandbox(const std::string& id);
  const Sandbox* sandbox(const std::string& id) const;

  /// Everything that is not put from here on until `sweep` is dropped by it. A daemon that comes back tells all.
  void mark();
  void sweep();
  /// Ids of the sandboxes that the sweep would drop.
  std::vector<std::string> unmarked_sandboxes() const;

  /// Whoever carries the name in the first of the sandbox's networks where somebody does; empty when nobody does.
  std::vector<const Endpoint*> find(const Sandbox& sandbox, const std::string& name) const;

  struct Owner {
    /// The address belongs to a network of the sandbox.
    bool ours = false;
    /// '' when nobody has it.
    std::string name;
  };
  Owner owner(const Sandbox& sandbox, const Address& address) const;

 private:
  template <typename T>
  struct Kept {
    T value;
    uint64_t generation = 0;
  };
  struct Index {
    std::unordered_map<std::string, std::vector<const Endpoint*>> by_name;
    std::map<Address, const Endpoint*> by_address;
  };

  void link(const Endpoint& endpoint);
  void unlink(const Endpoint& endpoint);
  const std::vector<const Endpoint*>* named(const std::string& network, const std::string& name) const;

  uint64_t generation_ = 0;
  std::unordered_map<std::string, Kept<Network>> networks_;
  std::unordered_map<std::string, Kept<Endpoint>> endpoints_;
  std::unordered_map<std::string, Kept<Sandbox>> sandboxes_;
  std::unordered_map<std::string, Index> indexes_;
};

std::string to_lower(std::string text);

}  // namespace gantry::dns
