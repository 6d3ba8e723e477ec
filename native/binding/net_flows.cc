#include <netinet/in.h>

#include "gantry/conntrack.h"
#include "net.h"
#include "task.h"

namespace gantry::binding {
namespace {

Napi::Value flush_flows_js(const Napi::CallbackInfo& info) {
  auto object = info[0].As<Napi::Object>();
  FlowFilter filter;
  filter.v6 = flag_of(object, "v6");
  filter.protocol = text_of(object, "protocol") == "tcp" ? IPPROTO_TCP : IPPROTO_UDP;
  filter.original_destination = text_of(object, "originalDestination");
  filter.original_port = static_cast<uint16_t>(number_of(object, "originalPort"));
  filter.reply_source = text_of(object, "replySource");
  return run_off_thread<int>(
      info.Env(), [filter = std::move(filter)] { return flush_flows(filter); },
      [](Napi::Env env, int& removed) -> Napi::Value { return Napi::Number::New(env, removed); });
}

}  // namespace

void init_flows(Napi::Env env, Napi::Object exports) {
  exports.Set("flushFlows", Napi::Function::New(env, flush_flows_js, "flushFlows"));
}

}  // namespace gantry::binding
