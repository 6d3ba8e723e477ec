#include "requests.h"

#include <arpa/inet.h>

#include <charconv>
#include <stdexcept>

#include "host_servers.h"

namespace gantry::dns {

namespace {

std::optional<Address> parse_address(const std::string& text) {
  if (text == "-") return std::nullopt;
  Address address;
  if (::inet_pton(AF_INET, text.c_str(), address.bytes.data()) == 1) return address;
  address = {.v6 = true, .bytes = {}};
  if (::inet_pton(AF_INET6, text.c_str(), address.bytes.data()) == 1) return address;
  throw std::invalid_argument("invalid address: " + text);
}

Subnet parse_subnet(const std::string& text) {
  size_t slash = text.find('/');
  auto first = parse_address(text.substr(0, slash));
  unsigned prefix = 0;
  if (slash == std::string::npos || !first) throw std::invalid_argument("invalid subnet: " + text);
  const char* last = text.data() + text.size();
  auto [end, error] = std::from_chars(text.data() + slash + 1, last, prefix);
  if (error != std::errc{} || end != last || prefix > first->size() * 8)
    throw std::invalid_argument("invalid subnet: " + text);
  return {*first, prefix};
}

/// `NETWORK` or `NETWORK=alias:target,alias:target`.
Place parse_place(const std::string& text) {
  size_t equals = text.find('=');
  Place place{text.substr(0, equals), {}};
  if (equals == std::string::npos) return place;
  for (const std::string& link : split(text.substr(equals + 1), ',')) {
    size_t colon = link.find(':');
    if (colon == std::string::npos) throw std::invalid_argument("invalid link: " + link);
    place.links.emplace_back(to_lower(link.substr(0, colon)), to_lower(link.substr(colon + 1)));
  }
  return place;
}

std::vector<Upstream> parse_servers(const std::string& text) {
  std::vector<Upstream> servers;
  if (text == "host") return servers;
  for (const std::string& word : split(text, ',')) {
    Upstream server;
    if (!parse_server(word, server)) throw std::invalid_argument("invalid name server: " + word);
    servers.push_back(server);
  }
  return servers;
}

}  // namespace

std::vector<UniqueFd> DnsRequests::take_descriptors(const std::string& count) {
  unsigned number = 0;
  const char* last = count.data() + count.size();
  auto [end, error] = std::from_chars(count.data(), last, number);
  if (error != std::errc{} || end != last) throw std::invalid_argument("invalid number: " + count);
  std::vector<UniqueFd> descriptors;
  while (number-- > 0) descriptors.push_back(take_descriptor());
  return descriptors;
}

Words DnsRequests::state() const { return server_.sandboxes(); }

void DnsRequests::line(const Words& words) {
  const std::string& command = words[0];
  if (command == "all") {
    table_.mark();
  } else if (command == "end") {
    table_.sweep();
    for (const std::string& id : server_.sandboxes())
      if (!table_.sandbox(id)) server_.detach(id);
  } else if (command == "network") {
    need_words(words, 3);
    Network network{words[2], {}};
    for (size_t i = 3; i < words.size(); i++) network.subnets.push_back(parse_subnet(words[i]));
    table_.put_network(words[1], std::move(network));
  } else if (command == "no-network") {
    need_words(words, 2);
    table_.drop_network(words[1]);
  } else if (command == "endpoint") {
    need_words(words, 6);
    Endpoint endpoint{words[2], words[3], parse_address(words[4]), parse_address(words[5]), {}};
    for (size_t i = 6; i < words.size(); i++) endpoint.names.push_back(to_lower(words[i]));
    table_.put_endpoint(words[1], std::move(endpoint));
  } else if (command == "no-endpoint") {
    need_words(words, 2);
    table_.drop_endpoint(words[1]);
  } else if (command == "sandbox") {
    need_words(words, 3);
    Sandbox sandbox;
    sandbox.forwards = words[2] != "none";
    if (sandbox.forwards) sandbox.servers = parse_servers(words[2]);
    for (size_t i = 3; i < words.size(); i++) sandbox.places.push_back(parse_place(words[i]));
    table_.put_sandbox(words[1], std::move(sandbox));
  } else if (command == "no-sandbox") {
    need_words(words, 2);
    server_.detach(words[1]);
    table_.drop_sandbox(words[1]);
  } else if (command == "sockets") {
    need_words(words, 2);
    UniqueFd udp = take_descriptor();
    UniqueFd tcp = take_descriptor();
    if (!server_.attach(words[1], std::move(udp), std::move(tcp))) throw std::runtime_error("no room for more sockets");
  } else if (command == "sources") {
    need_words(words, 4);
    std::vector<UniqueFd> udp = take_descriptors(words[2]);
    std::vector<UniqueFd> tcp = take_descriptors(words[3]);
    if (!server_.put_sources(words[1], std::move(udp), std::move(tcp)))
      throw std::invalid_argument("no such sandbox: " + words[1]);
  } else {
    throw std::invalid_argument("unknown command: " + command);
  }
}

}  // namespace gantry::dns
