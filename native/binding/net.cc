#include "net.h"

#include <netinet/in.h>

#include <string>
#include <variant>
#include <vector>

#include "gantry/error.h"
#include "gantry/net_socket.h"
#include "gantry/netns.h"
#include "gantry/rtnl.h"
#include "gantry/unix_exchange.h"
#include "task.h"

namespace gantry::binding {

uint32_t number_of(const Napi::Object& object, const char* key) {
  Napi::Value value = object.Get(key);
  return value.IsNumber() ? value.As<Napi::Number>().Uint32Value() : 0;
}

std::string text_of(const Napi::Object& object, const char* key) {
  Napi::Value value = object.Get(key);
  if (value.IsString()) return value.As<Napi::String>().Utf8Value();
  if (value.IsNumber()) return value.ToString().Utf8Value();
  return {};
}

bool flag_of(const Napi::Object& object, const char* key) {
  Napi::Value value = object.Get(key);
  return value.IsBoolean() && value.As<Napi::Boolean>().Value();
}

namespace {

struct Step {
  std::string op;
  std::string name;
  std::vector<std::string> names;
  std::string link;
  std::string address;
  std::string destination;
  std::string gateway;
  std::string mac;
  std::string key;
  std::string value;
  LinkSettings settings;
  VethPeer peer;
  VirtualLink virtual_link;
};

std::optional<std::string> optional_text(const Napi::Object& object, const char* key) {
  Napi::Value value = object.Get(key);
  if (!value.IsString()) return std::nullopt;
  return value.As<Napi::String>().Utf8Value();
}

std::optional<bool> optional_flag(const Napi::Object& object, const char* key) {
  Napi::Value value = object.Get(key);
  if (!value.IsBoolean()) return std::nullopt;
  return value.As<Napi::Boolean>().Value();
}

Step parse_step(const Napi::Object& object) {
  Step step;
  step.op = text_of(object, "op");
  step.name = text_of(object, "name");
  if (Napi::Value names = object.Get("names"); names.IsArray()) {
    auto list = names.As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); i++) step.names.push_back(list.Get(i).ToString().Utf8Value());
  }
  step.link = text_of(object, "link");
  step.address = text_of(object, "address");
  step.destination = text_of(object, "destination");
  step.gateway = text_of(object, "gateway");
  step.mac = text_of(object, "mac");
  step.key = text_of(object, "key");
  step.value = text_of(object, "value");
  step.settings.rename = optional_text(object, "rename");
  step.settings.mac = optional_text(object, "mac");
  if (uint32_t mtu = number_of(object, "mtu")) step.settings.mtu = mtu;
  step.settings.up = optional_flag(object, "up");
  step.settings.master = optional_text(object, "master");
  step.settings.alias = optional_text(object, "alias");
  step.settings.target_namespace = optional_text(object, "namespace");
  step.settings.isolated = optional_flag(object, "isolated");
  step.settings.hairpin = optional_flag(object, "hairpin");
  step.settings.learning = optional_flag(object, "learning");
  Napi::Value peer = object.Get("peer");
  if (peer.IsObject()) {
    auto fields = peer.As<Napi::Object>();
    step.peer = {text_of(fields, "name"), text_of(fields, "mac"), number_of(fields, "mtu"),
                 text_of(fields, "namespace")};
  }
  step.virtual_link = {text_of(object, "kind"),
                       text_of(object, "parent"),
                       text_of(object, "mode"),
                       text_of(object, "flag"),
                       number_of(object, "id"),
                       text_of(object, "local"),
                       static_cast<uint16_t>(number_of(object, "port")),
                       text_of(object, "namespace")};
  return step;
}

void take_step(Rtnl& rtnl, const Step& step) {
  if (step.op == "add-bridge") return rtnl.add_bridge(step.name, step.settings);
  if (step.op == "add-veth") return rtnl.add_veth(step.name, step.settings, step.peer);
  if (step.op == "add-virtual") return rtnl.add_virtual(step.name, step.settings, step.virtual_link);
  if (step.op == "set-link") return rtnl.set_link(step.name, step.settings);
  if (step.op == "delete-link") return rtnl.delete_link(step.name);
  if (step.op == "delete-links") return rtnl.delete_links(step.names);
  if (step.op == "add-address") return rtnl.add_address(step.link, step.address);
  if (step.op == "delete-address") return rtnl.delete_address(step.link, step.address);
  if (step.op == "add-route") return rtnl.add_route(step.destination, step.gateway, step.link);
  if (step.op == "delete-route") return rtnl.delete_route(step.destination, step.gateway, step.link);
  if (step.op == "add-neighbour") return rtnl.add_neighbour(step.link, step.address, step.mac);
  if (step.op == "delete-neighbour") return rtnl.delete_neighbour(step.link, step.address);
  if (step.op == "add-forwarding") return rtnl.add_forwarding(step.link, step.mac, step.destination);
  if (step.op == "delete-forwarding") return rtnl.delete_forwarding(step.link, step.mac, step.destination);
  if (step.op == "sysctl") return write_sysctl(step.key, step.value);
  throw InvalidInput("unknown step: " + step.op);
}

Napi::Object counters_object(Napi::Env env, const LinkCounters& counters) {
  Napi::Object object = Napi::Object::New(env);
  auto set = [&](const char* key, uint64_t value) { object.Set(key, static_cast<double>(value)); };
  set("rxBytes", counters.rx_bytes);
  set("rxPackets", counters.rx_packets);
  set("rxErrors", counters.rx_errors);
  set("rxDropped", counters.rx_dropped);
  set("txBytes", counters.tx_bytes);
  set("txPackets", counters.tx_packets);
  set("txErrors", counters.tx_errors);
  set("txDropped", counters.tx_dropped);
  return object;
}

std::string text_argument(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsString()) throw Napi::TypeError::New(info.Env(), "a text is expected");
  return info[index].As<Napi::String>().Utf8Value();
}

Napi::Value create_namespace_js(const Napi::CallbackInfo& info) {
  return run_off_thread(info.Env(), [path = text_argument(info, 0)] { create_namespace(path); });
}

Napi::Value remove_namespace_js(const Napi::CallbackInfo& info) {
  return run_off_thread(info.Env(), [path = text_argument(info, 0)] { remove_namespace(path); });
}

Napi::Value configure(const Napi::CallbackInfo& info) {
  std::string path = text_argument(info, 0);
  std::vector<Step> steps;
  auto list = info[1].As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) steps.push_back(parse_step(list.Get(i).As<Napi::Object>()));
  return run_off_thread(info.Env(), [path = std::move(path), steps = std::move(steps)] {
    enter_namespace(path);
    Rtnl rtnl;
    for (const Step& step : steps) take_step(rtnl, step);
  });
}

Napi::Value links(const Napi::CallbackInfo& info) {
  return run_off_thread<std::vector<LinkInfo>>(
      info.Env(),
      [path = text_argument(info, 0)] {
        enter_namespace(path);
        return Rtnl().links();
      },
      [](Napi::Env env, std::vector<LinkInfo>& links) -> Napi::Value {
        Napi::Array result = Napi::Array::New(env, links.size());
        for (uint32_t i = 0; i < links.size(); i++) {
          const LinkInfo& link = links[i];
          Napi::Object object = Napi::Object::New(env);
          object.Set("index", link.index);
          object.Set("name", link.name);
          object.Set("kind", link.kind);
          object.Set("alias", link.alias);
          object.Set("mac", link.mac);
          object.Set("mtu", link.mtu);
          object.Set("up", link.up);
          object.Set("master", link.master);
          Napi::Array addresses = Napi::Array::New(env, link.addresses.size());
          for (uint32_t k = 0; k < link.addresses.size(); k++) addresses.Set(k, link.addresses[k]);
          object.Set("addresses", addresses);
          result.Set(i, object);
        }
        return result;
      });
}

Napi::Value neighbours(const Napi::CallbackInfo& info) {
  return run_off_thread<std::vector<NeighbourInfo>>(
      info.Env(),
      [path = text_argument(info, 0), link = text_argument(info, 1)] {
        enter_namespace(path);
        return Rtnl().neighbours(link);
      },
      [](Napi::Env env, std::vector<NeighbourInfo>& neighbours) -> Napi::Value {
        Napi::Array result = Napi::Array::New(env, neighbours.size());
        for (uint32_t i = 0; i < neighbours.size(); i++) {
          Napi::Object object = Napi::Object::New(env);
          object.Set("mac", neighbours[i].mac);
          object.Set("address", neighbours[i].address);
          object.Set("destination", neighbours[i].destination);
          result.Set(i, object);
        }
        return result;
      });
}

Napi::Value routes(const Napi::CallbackInfo& info) {
  return run_off_thread<std::vector<RouteInfo>>(
      info.Env(),
      [path = text_argument(info, 0)] {
        enter_namespace(path);
        return Rtnl().routes();
      },
      [](Napi::Env env, std::vector<RouteInfo>& routes) -> Napi::Value {
        Napi::Array result = Napi::Array::New(env, routes.size());
        for (uint32_t i = 0; i < routes.size(); i++) {
          Napi::Object object = Napi::Object::New(env);
          object.Set("destination", routes[i].destination);
          object.Set("gateway", routes[i].gateway);
          object.Set("link", routes[i].link);
          result.Set(i, object);
        }
        return result;
      });
}

Napi::Value counters(const Napi::CallbackInfo& info) {
  return run_off_thread<std::vector<LinkInfo>>(
      info.Env(),
      [path = text_argument(info, 0)] {
        enter_namespace(path);
        return Rtnl().links();
      },
      [](Napi::Env env, std::vector<LinkInfo>& links) -> Napi::Value {
        Napi::Object result = Napi::Object::New(env);
        for (const LinkInfo& link : links)
          if (link.name != "lo") result.Set(link.name, counters_object(env, link.counters));
        return result;
      });
}

SocketType socket_type(const Napi::CallbackInfo& info, size_t index) {
  std::string word = text_argument(info, index);
  if (word == "tcp") return SocketType::tcp;
  if (word == "udp") return SocketType::udp;
  if (word == "sctp") return SocketType::sctp;
  throw Napi::TypeError::New(info.Env(), "tcp, udp or sctp is expected");
}

uint16_t port_argument(const Napi::CallbackInfo& info, size_t index) {
  double port = info[index].IsNumber() ? info[index].As<Napi::Number>().DoubleValue() : -1;
  if (!(port >= 0 && port <= 65535)) throw Napi::RangeError::New(info.Env(), "a port is expected");
  return static_cast<uint16_t>(port);
}

Napi::Value socket_object(Napi::Env env, BoundSocket& socket) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("port", socket.port);
  object.Set("fd", socket.fd.release());
  return object;
}

Napi::Value open_socket_js(const Napi::CallbackInfo& info) {
  SocketType type = socket_type(info, 1);
  uint16_t port = port_argument(info, 3);
  return run_off_thread<BoundSocket>(
      info.Env(),
      [path = text_argument(info, 0), type, address = text_argument(info, 2), port] {
        enter_namespace(path);
        return open_server_socket(type, address, port);
      },
      [](Napi::Env env, BoundSocket& socket) { return socket_object(env, socket); });
}

Napi::Value open_client_sockets_js(const Napi::CallbackInfo& info) {
  SocketType type = socket_type(info, 1);
  uint32_t count = info[2].As<Napi::Number>().Uint32Value();
  return run_off_thread<std::vector<UniqueFd>>(
      info.Env(),
      [path = text_argument(info, 0), type, count] {
        enter_namespace(path);
        return open_client_sockets(type, count);
      },
      [](Napi::Env env, std::vector<UniqueFd>& sockets) -> Napi::Value {
        Napi::Array list = Napi::Array::New(env, sockets.size());
        for (uint32_t i = 0; i < sockets.size(); i++) list.Set(i, sockets[i].release());
        return list;
      });
}

Napi::Value reserve_port_js(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    BoundSocket socket = reserve_port(socket_type(info, 0), text_argument(info, 1), port_argument(info, 2));
    return socket_object(info.Env(), socket);
  });
}

Napi::Value close_socket(const Napi::CallbackInfo& info) {
  UniqueFd closing(info[0].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

Napi::Value exchange(const Napi::CallbackInfo& info) {
  auto list = info[2].As<Napi::Array>();
  std::vector<int> descriptors;
  for (uint32_t i = 0; i < list.Length(); i++) descriptors.push_back(list.Get(i).As<Napi::Number>().Int32Value());
  constexpr int kTimeoutMs = 10'000;
  return run_off_thread<std::string>(
      info.Env(),
      [path = text_argument(info, 0), text = text_argument(info, 1), descriptors = std::move(descriptors)] {
        return unix_exchange(path, text, descriptors, kTimeoutMs);
      },
      [](Napi::Env env, std::string& answer) -> Napi::Value { return Napi::String::New(env, answer); });
}

Napi::Value unsent(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), unsent_bytes(info[0].As<Napi::Number>().Int32Value()));
  });
}

Napi::Value peer_credentials_js(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    PeerCredentials peer = peer_credentials(info[0].As<Napi::Number>().Int32Value());
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("pid", peer.pid);
    object.Set("uid", peer.uid);
    object.Set("gid", peer.gid);
    return object;
  });
}

}  // namespace

void init_net(Napi::Env env, Napi::Object exports) {
  auto set = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  set("createNamespace", create_namespace_js);
  set("removeNamespace", remove_namespace_js);
  set("configure", configure);
  set("links", links);
  set("routes", routes);
  set("neighbours", neighbours);
  set("counters", counters);
  set("openSocket", open_socket_js);
  set("openClientSockets", open_client_sockets_js);
  set("reservePort", reserve_port_js);
  set("closeSocket", close_socket);
  set("exchange", exchange);
  set("unsent", unsent);
  set("peerCredentials", peer_credentials_js);
  if (init_nft) init_nft(env, exports);
  if (init_flows) init_flows(env, exports);
  if (init_xfrm) init_xfrm(env, exports);
}

}  // namespace gantry::binding
