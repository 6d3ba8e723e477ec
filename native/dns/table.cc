#include "table.h"

#include <algorithm>

namespace gantry::dns {

namespace {

bool within(const Subnet& subnet, const Address& address) {
  if (subnet.first.v6 != address.v6) return false;
  for (size_t i = 0; i * 8 < subnet.prefix; i++) {
    unsigned bits = std::min<unsigned>(8, subnet.prefix - static_cast<unsigned>(i) * 8);
    auto mask = static_cast<uint8_t>(0xff << (8 - bits));
    if ((subnet.first.bytes[i] & mask) != (address.bytes[i] & mask)) return false;
  }
  return true;
}

template <typename Map, typename Drop>
void sweep_map(Map& map, uint64_t generation, Drop drop) {
  std::vector<std::string> stale;
  for (const auto& [id, kept] : map)
    if (kept.generation != generation) stale.push_back(id);
  for (const std::string& id : stale) drop(id);
}

}  // namespace

std::string to_lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}

void Table::put_network(const std::string& id, Network network) { networks_[id] = {std::move(network), generation_}; }

void Table::drop_network(const std::string& id) { networks_.erase(id); }

void Table::put_endpoint(const std::string& id, Endpoint endpoint) {
  drop_endpoint(id);
  Kept<Endpoint>& kept = endpoints_[id] = {std::move(endpoint), generation_};
  link(kept.value);
}

void Table::drop_endpoint(const std::string& id) {
  auto found = endpoints_.find(id);
  if (found == endpoints_.end()) return;
  unlink(found->second.value);
  endpoints_.erase(found);
}

void Table::put_sandbox(const std::string& id, Sandbox sandbox) { sandboxes_[id] = {std::move(sandbox), generation_}; }

void Table::drop_sandbox(const std::string& id) { sandboxes_.erase(id); }

const Sandbox* Table::sandbox(const std::string& id) const {
  auto found = sandboxes_.find(id);
  return found == sandboxes_.end() ? nullptr : &found->second.value;
}

void Table::mark() { generation_++; }

std::vector<std::string> Table::unmarked_sandboxes() const {
  std::vector<std::string> ids;
  for (const auto& [id, kept] : sandboxes_)
    if (kept.generation != generation_) ids.push_back(id);
  return ids;
}

void Table::sweep() {
  sweep_map(sandboxes_, generation_, [this](const std::string& id) { drop_sandbox(id); });
  sweep_map(endpoints_, generation_, [this](const std::string& id) { drop_endpoint(id); });
  sweep_map(networks_, generation_, [this](const std::string& id) { drop_network(id); });
}

void Table::link(const Endpoint& endpoint) {
  Index& index = indexes_[endpoint.network];
  for (const std::string& name : endpoint.names) {
    auto& list = index.by_name[name];
    if (std::find(list.begin(), list.end(), &endpoint) == list.end()) list.push_back(&endpoint);
  }
  for (const auto& address : {endpoint.v4, endpoint.v6})
    if (address) index.by_address[*address] = &endpoint;
}

void Table::unlink(const Endpoint& endpoint) {
  auto found = indexes_.find(endpoint.network);
  if (found == indexes_.end()) return;
  Index& index = found->second;
  for (const std::string& name : endpoint.names) {
    auto named = index.by_name.find(name);
    if (named == index.by_name.end()) continue;
    std::erase(named->second, &endpoint);
    if (named->second.empty()) index.by_name.erase(named);
  }
  for (const auto& address : {endpoint.v4, endpoint.v6}) {
    if (!address) continue;
    auto owned = index.by_address.find(*address);
    if (owned != index.by_address.end() && owned->second == &endpoint) index.by_address.erase(owned);
  }
  if (index.by_name.empty() && index.by_address.empty()) indexes_.erase(found);
}

const std::vector<const Endpoint*>* Table::named(const std::string& network, const std::string& name) const {
  auto index = indexes_.find(network);
  if (index == indexes_.end()) return nullptr;
  auto found = index->second.by_name.find(name);
  return found == index->second.by_name.end() ? nullptr : &found->second;
}

std::vector<const Endpoint*> Table::find(const Sandbox& sandbox, const std::string& name) const {
  for (const Place& place : sandbox.places) {
    std::string bare = name;
    if (auto network = networks_.find(place.network); network != networks_.end()) {
      const std::string suffix = "." + to_lower(network->second.value.name);
      if (bare.size() > suffix.size() && bare.ends_with(suffix)) bare.resize(bare.size() - suffix.size());
    }
    for (const auto& [alias, target] : place.links)
      if (alias == bare)
        if (const auto* linked = named(place.network, target)) return *linked;
    if (const auto* found = named(place.network, bare)) return *found;
  }
  return {};
}

Table::Owner Table::owner(const Sandbox& sandbox, const Address& address) const {
  for (const Place& place : sandbox.places) {
    auto network = networks_.find(place.network);
    if (network == networks_.end()) continue;
    if (auto index = indexes_.find(place.network); index != indexes_.end()) {
      auto found = index->second.by_address.find(address);
      if (found != index->second.by_address.end())
        return {true, found->second->owner + "." + network->second.value.name};
    }
    for (const Subnet& subnet : network->second.value.subnets)
      if (within(subnet, address)) return {true, ""};
  }
  return {};
}

}  // namespace gantry::dns
