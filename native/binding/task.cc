#include "task.h"

#include <cstring>

#include "gantry/error.h"
#include "gantry/workers.h"

namespace gantry::binding {
namespace {

/// One for all environments of the process; its threads outlive each of them.
Workers& workers() {
  static Workers* const all = new Workers;
  return *all;
}

/// What comes back to one environment's main thread.
struct Returns {
  Napi::ThreadSafeFunction back;
  /// Of the main thread. While it is not zero the process does not end.
  size_t under_way = 0;
};

}  // namespace

void init_tasks(Napi::Env env) {
  auto* returns = new Returns;
  returns->back = Napi::ThreadSafeFunction::New(env, Napi::Function(), "gantry", 0, 1);
  returns->back.Unref(env);
  env.SetInstanceData<Returns>(returns);
}

void run_then(Napi::Env env, std::function<void()> work, std::function<void(Napi::Env)> settle) {
  auto* returns = env.GetInstanceData<Returns>();
  Napi::ThreadSafeFunction back = returns->back;
  // Held for the worker: an environment that ends meanwhile leaves the function there until it is let go.
  back.Acquire();
  try {
    workers().run([back, work = std::move(work), settle = std::move(settle)]() mutable {
      work();
      napi_status told = back.BlockingCall([settle = std::move(settle)](Napi::Env env, Napi::Function) {
        Napi::HandleScope scope(env);
        auto* returns = env.GetInstanceData<Returns>();
        if (--returns->under_way == 0) returns->back.Unref(env);
        settle(env);
      });
      // A call that finds the environment closing has let go by itself.
      if (told != napi_closing) back.Release();
    });
  } catch (...) {
    back.Release();
    throw to_js_error(env, std::current_exception());
  }
  if (returns->under_way++ == 0) returns->back.Ref(env);
}

Napi::Error to_js_error(Napi::Env env, std::exception_ptr thrown) {
  try {
    std::rethrow_exception(std::move(thrown));
  } catch (const SysError& e) {
    Napi::Error error = Napi::Error::New(env, e.what());
    const char* code = strerrorname_np(e.err());
    error.Set("code", Napi::String::New(env, code ? code : "EUNKNOWN"));
    error.Set("errno", Napi::Number::New(env, -e.err()));
    error.Set("syscall", Napi::String::New(env, e.operation()));
    if (!e.path().empty()) error.Set("path", Napi::String::New(env, e.path()));
    return error;
  } catch (const InvalidInput& e) {
    Napi::Error error = Napi::Error::New(env, e.what());
    error.Set("code", Napi::String::New(env, "EINVALID"));
    return error;
  } catch (const std::exception& e) {
    return Napi::Error::New(env, e.what());
  } catch (...) {
    return Napi::Error::New(env, "unknown failure in the native layer");
  }
}

Napi::Value run_off_thread(Napi::Env env, std::function<void()> work) {
  return run_off_thread<bool>(
      env,
      [work = std::move(work)] {
        work();
        return true;
      },
      [](Napi::Env e, bool&) { return e.Undefined(); });
}

}  // namespace gantry::binding
