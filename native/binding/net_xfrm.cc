#include <string>
#include <vector>

#include "gantry/error.h"
#include "gantry/netns.h"
#include "gantry/xfrm.h"
#include "net.h"
#include "task.h"

namespace gantry::binding {

namespace {

struct Step {
  std::string op;
  XfrmState state;
  XfrmPolicy policy;
};

Step parse_step(const Napi::Object& object) {
  Step step;
  step.op = text_of(object, "op");
  step.state = {text_of(object, "source"), text_of(object, "destination"), number_of(object, "spi"),
                number_of(object, "reqid"), ""};
  if (Napi::Value key = object.Get("key"); key.IsBuffer()) {
    auto bytes = key.As<Napi::Buffer<char>>();
    step.state.key.assign(bytes.Data(), bytes.Length());
  }
  step.policy.out = text_of(object, "direction") == "out";
  step.policy.source = step.state.source;
  step.policy.destination = step.state.destination;
  step.policy.port = static_cast<uint16_t>(number_of(object, "port"));
  step.policy.priority = number_of(object, "priority");
  step.policy.block = flag_of(object, "block");
  step.policy.reqid = step.state.reqid;
  step.policy.spi = step.state.spi;
  return step;
}

void take_step(Xfrm& xfrm, const Step& step) {
  if (step.op == "add-state") return xfrm.add_state(step.state);
  if (step.op == "delete-state") return xfrm.delete_state(step.state);
  if (step.op == "put-policy") return xfrm.put_policy(step.policy);
  if (step.op == "delete-policy") return xfrm.delete_policy(step.policy);
  throw InvalidInput("unknown step: " + step.op);
}

struct Listing {
  std::vector<XfrmState> states;
  std::vector<XfrmPolicy> policies;
};

Napi::Value encrypt(const Napi::CallbackInfo& info) {
  auto list = info[1].As<Napi::Array>();
  std::vector<Step> steps;
  for (uint32_t i = 0; i < list.Length(); i++) steps.push_back(parse_step(list.Get(i).As<Napi::Object>()));
  return run_off_thread(info.Env(), [path = info[0].As<Napi::String>().Utf8Value(), steps = std::move(steps)] {
    enter_namespace(path);
    Xfrm xfrm;
    for (const Step& step : steps) take_step(xfrm, step);
  });
}

Napi::Value encryption(const Napi::CallbackInfo& info) {
  auto reqid = info[1].As<Napi::Number>().Uint32Value();
  auto port = static_cast<uint16_t>(info[2].As<Napi::Number>().Uint32Value());
  return run_off_thread<Listing>(
      info.Env(),
      [path = info[0].As<Napi::String>().Utf8Value(), reqid, port] {
        enter_namespace(path);
        Xfrm xfrm;
        return Listing{xfrm.states(reqid), xfrm.policies(port)};
      },
      [](Napi::Env env, Listing& listing) -> Napi::Value {
        Napi::Array states = Napi::Array::New(env, listing.states.size());
        for (uint32_t i = 0; i < listing.states.size(); i++) {
          const XfrmState& state = listing.states[i];
          Napi::Object object = Napi::Object::New(env);
          object.Set("source", state.source);
          object.Set("destination", state.destination);
          object.Set("spi", state.spi);
          states.Set(i, object);
        }
        Napi::Array policies = Napi::Array::New(env, listing.policies.size());
        for (uint32_t i = 0; i < listing.policies.size(); i++) {
          const XfrmPolicy& policy = listing.policies[i];
          Napi::Object object = Napi::Object::New(env);
          object.Set("direction", policy.out ? "out" : "in");
          object.Set("source", policy.source);
          object.Set("destination", policy.destination);
          object.Set("block", policy.block);
          object.Set("spi", policy.spi);
          policies.Set(i, object);
        }
        Napi::Object result = Napi::Object::New(env);
        result.Set("states", states);
        result.Set("policies", policies);
        return result;
      });
}

}  // namespace

void init_xfrm(Napi::Env env, Napi::Object exports) {
  exports.Set("encrypt", Napi::Function::New(env, encrypt, "encrypt"));
  exports.Set("encryption", Napi::Function::New(env, encryption, "encryption"));
}

}  // namespace gantry::binding
