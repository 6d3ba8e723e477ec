#include "gantry/process.h"

#include <unistd.h>

#include <unordered_map>

#include "gantry/error.h"
#include "gantry/service_notify.h"
#include "task.h"

namespace gantry::binding {
namespace {

/// One for each environment the addon is loaded into.
struct Children {
  Napi::ThreadSafeFunction back;
  std::unordered_map<uint64_t, Napi::Promise::Deferred> waiting;
  uint64_t next_key = 1;
  std::unique_ptr<Reaper> reaper;

  explicit Children(Napi::Env env) {
    back = Napi::ThreadSafeFunction::New(env, Napi::Function(), "gantry children", 0, 1);
    // A child does not keep the process alive: the daemon may end while containers run.
    back.Unref(env);
    reaper = std::make_unique<Reaper>([this](uint64_t key, int code) {
      back.BlockingCall([this, key, code](Napi::Env env, Napi::Function) { settle(env, key, code); });
    });
  }

  void settle(Napi::Env env, uint64_t key, int code) {
    Napi::HandleScope scope(env);
    auto found = waiting.find(key);
    if (found == waiting.end()) return;
    Napi::Object exit = Napi::Object::New(env);
    exit.Set("code", Napi::Number::New(env, code));
    found->second.Resolve(exit);
    waiting.erase(found);
  }

  void stop() {
    reaper.reset();
    back.Abort();
  }
};

std::vector<std::string> strings(const Napi::Value& value) {
  std::vector<std::string> result;
  if (!value.IsArray()) throw InvalidInput("a list of strings is expected");
  Napi::Array array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    std::string text = array.Get(i).As<Napi::String>().Utf8Value();
    // It would end the string for the kernel and so say something else than what was checked.
    if (text.find('\0') != std::string::npos) throw InvalidInput("a NUL byte in an argument");
    result.push_back(std::move(text));
  }
  return result;
}

Napi::Value spawn_child(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    auto* children = static_cast<Children*>(info.Data());
    Napi::Object options = info[0].As<Napi::Object>();
    SpawnRequest request;
    request.path = options.Get("path").As<Napi::String>().Utf8Value();
    request.args = strings(options.Get("args"));
    request.env = strings(options.Get("env"));
    if (Napi::Value cwd = options.Get("cwd"); cwd.IsString()) request.cwd = cwd.As<Napi::String>().Utf8Value();
    Napi::Array fds = options.Get("fds").As<Napi::Array>();
    for (uint32_t i = 0; i < fds.Length(); ++i) request.fds.push_back(fds.Get(i).As<Napi::Number>().Int32Value());
    request.new_session = options.Get("newSession").ToBoolean().Value();

    SpawnedChild child = spawn(request);
    pid_t pid = child.pid;
    Napi::Promise::Deferred deferred = Napi::Promise::Deferred::New(env);
    // Before it is watched: the exit may be reported at once.
    uint64_t key = children->next_key++;
    children->waiting.emplace(key, deferred);
    children->reaper->watch(key, std::move(child));
    Napi::Object result = Napi::Object::New(env);
    result.Set("pid", Napi::Number::New(env, pid));
    result.Set("exited", deferred.Promise());
    return result;
  });
}

Napi::Value pair_of(Napi::Env env, std::pair<UniqueFd, UniqueFd> pair) {
  Napi::Array result = Napi::Array::New(env, 2);
  result.Set(0u, Napi::Number::New(env, pair.first.release()));
  result.Set(1u, Napi::Number::New(env, pair.second.release()));
  return result;
}

}  // namespace

void init_process(Napi::Env env, Napi::Object exports) {
  auto* children = new Children(env);
  env.AddCleanupHook([children] { children->stop(); });
  exports.Set("spawn", Napi::Function::New(env, spawn_child, "spawn", children));
  exports.Set("socketPair", Napi::Function::New(
                                env,
                                [](const Napi::CallbackInfo& info) {
                                  return guarded(info.Env(), [&] { return pair_of(info.Env(), make_socket_pair()); });
                                },
                                "socketPair"));
  exports.Set("pipe", Napi::Function::New(
                          env,
                          [](const Napi::CallbackInfo& info) {
                            return guarded(info.Env(), [&] { return pair_of(info.Env(), make_pipe()); });
                          },
                          "pipe"));
  exports.Set("closeFd", Napi::Function::New(
                             env,
                             [](const Napi::CallbackInfo& info) -> Napi::Value {
                               UniqueFd closing(info[0].As<Napi::Number>().Int32Value());
                               return info.Env().Undefined();
                             },
                             "closeFd"));
  exports.Set("startTime", Napi::Function::New(
                               env,
                               [](const Napi::CallbackInfo& info) -> Napi::Value {
                                 auto found = process_start_time(info[0].As<Napi::Number>().Int32Value());
                                 if (!found) return info.Env().Undefined();
                                 return Napi::Number::New(info.Env(), static_cast<double>(*found));
                               },
                               "startTime"));
  exports.Set("signal", Napi::Function::New(
                            env,
                            [](const Napi::CallbackInfo& info) -> Napi::Value {
                              return guarded(info.Env(), [&]() -> Napi::Value {
                                bool sent =
                                    signal_process(info[0].As<Napi::Number>().Int32Value(),
                                                   static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value()),
                                                   info[2].As<Napi::Number>().Int32Value());
                                return Napi::Boolean::New(info.Env(), sent);
                              });
                            },
                            "signal"));
  exports.Set("notifyService", Napi::Function::New(
                                   env,
                                   [](const Napi::CallbackInfo& info) -> Napi::Value {
                                     return guarded(info.Env(), [&]() -> Napi::Value {
                                       notify_service(info[0].As<Napi::String>().Utf8Value(),
                                                      info[1].As<Napi::String>().Utf8Value());
                                       return info.Env().Undefined();
                                     });
                                   },
                                   "notifyService"));
}

}  // namespace gantry::binding
