#include "task.h"

#include <cstring>

#include "gantry/error.h"

namespace gantry::binding {

Napi::Error to_js_error(Napi::Env env, std::exception_ptr thrown) {
  try {
    std::rethrow_exception(thrown);
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
