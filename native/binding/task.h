#pragma once

#include <napi.h>

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace gantry::binding {

/// A JavaScript Error for a caught exception: a SysError gets `code`, `syscall` and `path` as Node's own have, an
/// InvalidInput gets the code `EINVALID`.
Napi::Error to_js_error(Napi::Env env, std::exception_ptr thrown);

/// Runs a short call on the main thread; what it throws becomes a JavaScript exception.
template <typename Call>
Napi::Value guarded(Napi::Env env, Call call) {
  try {
    return call();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw to_js_error(env, std::current_exception());
  }
}

/// Runs `work` on a thread that has nothing else to do, which keeps this process alive, then `settle` on the main
/// thread.
void run_then(Napi::Env env, std::function<void()> work, std::function<void(Napi::Env)> settle);

/// Runs `work` off the main thread and settles the returned promise, on the main thread, with what `convert` makes of
/// the result. Not libuv's pool: four calls that a user's path or a dead network file system blocks would stop every
/// other file call.
template <typename Result>
Napi::Value run_off_thread(Napi::Env env, std::function<Result()> work,
                           std::function<Napi::Value(Napi::Env, Result&)> convert) {
  struct State {
    explicit State(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}
    Napi::Promise::Deferred deferred;
    std::function<Result()> work;
    std::function<Napi::Value(Napi::Env, Result&)> convert;
    std::optional<Result> result;
    std::exception_ptr thrown;
  };
  auto state = std::make_shared<State>(env);
  state->work = std::move(work);
  state->convert = std::move(convert);
  Napi::Promise promise = state->deferred.Promise();
  run_then(
      env,
      [state] {
        try {
          state->result.emplace(state->work());
        } catch (...) {
          state->thrown = std::current_exception();
        }
        state->work = nullptr;
      },
      [state](Napi::Env env) {
        if (state->thrown) {
          state->deferred.Reject(to_js_error(env, state->thrown).Value());
          return;
        }
        try {
          state->deferred.Resolve(state->convert(env, *state->result));
        } catch (const Napi::Error& error) {
          state->deferred.Reject(error.Value());
        }
      });
  return promise;
}

/// For work without a result.
Napi::Value run_off_thread(Napi::Env env, std::function<void()> work);

/// Before the parts: what {@link run_then} needs in this environment.
void init_tasks(Napi::Env env);

/// Each part of the addon registers its own functions.
void init_files(Napi::Env env, Napi::Object exports);
void init_logs(Napi::Env env, Napi::Object exports);
void init_net(Napi::Env env, Napi::Object exports);
void init_process(Napi::Env env, Napi::Object exports);

}  // namespace gantry::binding
