#include "gantry/netns.h"
#include "gantry/nft.h"
#include "gantry/nft_watch.h"
#include "net.h"
#include "task.h"

namespace gantry::binding {

namespace {

template <typename Each>
void each_object(const Napi::Value& list, Each each) {
  if (!list.IsArray()) return;
  auto array = list.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); i++) each(array.Get(i).As<Napi::Object>());
}

std::vector<std::string> texts(const Napi::Value& list) {
  std::vector<std::string> result;
  auto array = list.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); i++) result.push_back(array.Get(i).ToString().Utf8Value());
  return result;
}

nft::Verdict parse_verdict(const Napi::Object& object) {
  return {text_of(object, "verdict"), text_of(object, "chain")};
}

nft::Expression parse_expression(const Napi::Object& object) {
  nft::Expression part;
  part.type = text_of(object, "type");
  if (object.Get("fields").IsArray())
    for (const std::string& word : texts(object.Get("fields"))) part.fields.push_back(nft::parse_field(word));
  else if (object.Get("field").IsString())
    part.fields.push_back(nft::parse_field(text_of(object, "field")));
  part.value = text_of(object, "value");
  part.negated = flag_of(object, "not");
  part.set = text_of(object, "set");
  if (part.set.empty()) part.set = text_of(object, "map");
  part.address = text_of(object, "address");
  Napi::Value port = object.Get("port");
  if (port.IsNumber()) part.port = static_cast<uint16_t>(port.As<Napi::Number>().Uint32Value());
  part.verdict = parse_verdict(object);
  return part;
}

nft::Chain parse_chain(const Napi::Object& object) {
  nft::Chain chain;
  chain.name = text_of(object, "name");
  Napi::Value base = object.Get("base");
  if (base.IsObject()) {
    auto fields = base.As<Napi::Object>();
    chain.type = text_of(fields, "type");
    chain.hook = text_of(fields, "hook");
    chain.priority = fields.Get("priority").As<Napi::Number>().Int32Value();
  }
  each_object(object.Get("rules"), [&](const Napi::Object& fields) {
    nft::Rule rule;
    rule.comment = text_of(fields, "comment");
    each_object(fields.Get("expressions"),
                [&](const Napi::Object& part) { rule.expressions.push_back(parse_expression(part)); });
    chain.rules.push_back(std::move(rule));
  });
  return chain;
}

nft::Set parse_set(const Napi::Object& object) {
  nft::Set set;
  set.name = text_of(object, "name");
  set.interval = flag_of(object, "interval");
  for (const std::string& word : texts(object.Get("key"))) set.key.push_back(nft::parse_type(word));
  Napi::Value data = object.Get("data");
  if (data.IsString()) set.verdict_map = true;
  if (data.IsArray())
    for (const std::string& word : texts(data)) set.data.push_back(nft::parse_type(word));
  each_object(object.Get("elements"), [&](const Napi::Object& fields) {
    nft::Element element;
    element.key = texts(fields.Get("key"));
    Napi::Value value = fields.Get("data");
    if (value.IsArray())
      element.data = texts(value);
    else if (value.IsObject())
      element.verdict = parse_verdict(value.As<Napi::Object>());
    set.elements.push_back(std::move(element));
  });
  return set;
}

nft::Family parse_family(const Napi::Value& word) {
  return word.IsString() && word.As<Napi::String>().Utf8Value() == "ip6" ? nft::Family::ip6 : nft::Family::ip;
}

nft::Table parse_table(const Napi::Object& object) {
  nft::Table table;
  table.family = parse_family(object.Get("family"));
  table.name = text_of(object, "name");
  each_object(object.Get("sets"), [&](const Napi::Object& set) { table.sets.push_back(parse_set(set)); });
  each_object(object.Get("chains"), [&](const Napi::Object& chain) { table.chains.push_back(parse_chain(chain)); });
  return table;
}

nft::Command parse_command(const Napi::Object& object) {
  std::string op = text_of(object, "op");
  if (op == "add-table" || op == "replace-table") {
    auto kind = op == "add-table" ? nft::Command::Op::add_table : nft::Command::Op::replace_table;
    return {kind, parse_table(object.Get("table").As<Napi::Object>()), {}};
  }
  nft::Table named;
  named.name = text_of(object, "table");
  named.family = parse_family(object.Get("family"));
  if (op == "delete-table") return {nft::Command::Op::delete_table, std::move(named), {}};
  auto kind = op == "add-elements" ? nft::Command::Op::add_elements : nft::Command::Op::delete_elements;
  return {kind, std::move(named), parse_set(object.Get("set").As<Napi::Object>())};
}

Napi::Value apply(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    std::string path = info[0].As<Napi::String>().Utf8Value();
    std::vector<nft::Command> commands;
    each_object(info[1], [&](const Napi::Object& command) { commands.push_back(parse_command(command)); });
    return run_off_thread(info.Env(), [path = std::move(path), commands = std::move(commands)] {
      enter_namespace(path);
      nft::apply(commands);
    });
  });
}

Napi::Object lists_object(Napi::Env env, const std::map<std::string, std::vector<std::string>>& lists) {
  Napi::Object object = Napi::Object::New(env);
  for (const auto& [name, entries] : lists) {
    Napi::Array array = Napi::Array::New(env, entries.size());
    for (uint32_t i = 0; i < entries.size(); i++) array.Set(i, entries[i]);
    object.Set(name, array);
  }
  return object;
}

Napi::Value list(const Napi::CallbackInfo& info) {
  std::string path = info[0].As<Napi::String>().Utf8Value();
  std::string table = info[1].As<Napi::String>().Utf8Value();
  return run_off_thread<std::optional<nft::Listing>>(
      info.Env(),
      [path = std::move(path), table = std::move(table), family = parse_family(info[2])] {
        enter_namespace(path);
        return nft::list(table, family);
      },
      [](Napi::Env env, std::optional<nft::Listing>& listing) -> Napi::Value {
        if (!listing) return env.Undefined();
        Napi::Object object = Napi::Object::New(env);
        object.Set("sets", lists_object(env, listing->sets));
        object.Set("chains", lists_object(env, listing->chains));
        return object;
      });
}

Napi::Value base_chains(const Napi::CallbackInfo& info) {
  std::string path = info[0].As<Napi::String>().Utf8Value();
  return run_off_thread<std::vector<nft::BaseChain>>(
      info.Env(),
      [path = std::move(path)] {
        enter_namespace(path);
        return nft::base_chains();
      },
      [](Napi::Env env, std::vector<nft::BaseChain>& chains) -> Napi::Value {
        Napi::Array result = Napi::Array::New(env, chains.size());
        for (uint32_t i = 0; i < chains.size(); i++) {
          Napi::Object object = Napi::Object::New(env);
          object.Set("family", chains[i].family);
          object.Set("table", chains[i].table);
          object.Set("name", chains[i].name);
          object.Set("hook", chains[i].hook);
          object.Set("priority", chains[i].priority);
          object.Set("drops", chains[i].drops);
          result.Set(i, object);
        }
        return result;
      });
}

/// Watches one table until the returned function is called. Neither it nor its thread keeps the process alive.
Napi::Value watch(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Napi::Env env = info.Env();
    std::string table = info[0].As<Napi::String>().Utf8Value();
    auto told = Napi::ThreadSafeFunction::New(env, info[1].As<Napi::Function>(), "nftables watch", 0, 1);
    told.Unref(env);
    auto watch = std::make_shared<std::unique_ptr<nft::Watch>>();
    try {
      *watch = std::make_unique<nft::Watch>(table, [told]() mutable { told.NonBlockingCall(); });
    } catch (...) {
      told.Release();
      throw;
    }
    return Napi::Function::New(env, [watch, told](const Napi::CallbackInfo&) mutable {
      if (!*watch) return;
      watch->reset();
      told.Release();
    });
  });
}

}  // namespace

void init_nft(Napi::Env env, Napi::Object exports) {
  exports.Set("nft", Napi::Function::New(env, apply, "nft"));
  exports.Set("nftTable", Napi::Function::New(env, list, "nftTable"));
  exports.Set("nftBaseChains", Napi::Function::New(env, base_chains, "nftBaseChains"));
  exports.Set("watchNft", Napi::Function::New(env, watch, "watchNft"));
}

}  // namespace gantry::binding
