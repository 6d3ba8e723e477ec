#include <napi.h>

#include <algorithm>

#include "gantry/json_log.h"
#include "task.h"

namespace gantry::binding {
namespace {

int64_t nanoseconds(const Napi::Value& value, int64_t otherwise) {
  if (!value.IsBigInt()) return otherwise;
  bool lossless;
  return value.As<Napi::BigInt>().Int64Value(&lossless);
}

/// packLog(from, start, to, framed, timestamps, stdout, stderr, since, until): some 0.1 ms for each 256 KiB.
Napi::Value js_pack_log(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (info.Length() < 9 || !info[0].IsBuffer() || !info[1].IsNumber() || !info[2].IsBuffer())
    throw Napi::TypeError::New(env, "packLog takes a Buffer, a number, a Buffer and a form");
  auto from = info[0].As<Napi::Buffer<uint8_t>>();
  auto to = info[2].As<Napi::Buffer<uint8_t>>();
  size_t start = std::min<size_t>(info[1].As<Napi::Number>().Uint32Value(), from.Length());
  size_t size = from.Length() - start;
  if (to.Length() < size + kLogSlack) throw Napi::RangeError::New(env, "packLog needs room for its input");
  LogForm form;
  form.framed = info[3].ToBoolean();
  form.timestamps = info[4].ToBoolean();
  form.out = info[5].ToBoolean();
  form.err = info[6].ToBoolean();
  form.since = nanoseconds(info[7], form.since);
  form.until = nanoseconds(info[8], form.until);
  LogRun run = pack_log(from.Data() + start, size, form, to.Data());
  Napi::Object row = Napi::Object::New(env);
  row.Set("taken", Napi::Number::New(env, static_cast<double>(run.taken)));
  row.Set("written", Napi::Number::New(env, static_cast<double>(run.written)));
  row.Set("last", Napi::BigInt::New(env, run.last));
  row.Set("past", Napi::Boolean::New(env, run.past));
  return row;
}

}  // namespace

void init_logs(Napi::Env env, Napi::Object exports) { exports.Set("packLog", Napi::Function::New(env, js_pack_log)); }

}  // namespace gantry::binding
