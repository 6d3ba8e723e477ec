#include "arguments.h"
#include "files.h"
#include "gantry/project_quota.h"
#include "task.h"

namespace gantry::binding {
namespace {

Napi::Value js_project_quota_refusal(const Napi::CallbackInfo& info) {
  return run_off_thread<std::string>(
      info.Env(), [path = Arguments(info).text()] { return project_quota_refusal(path); },
      [](Napi::Env env, std::string& reason) -> Napi::Value {
        return reason.empty() ? env.Undefined() : Napi::String::New(env, reason);
      });
}

Napi::Value js_set_project(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string path = args.text();
  uint32_t project = static_cast<uint32_t>(args.count().value_or(0));
  return run_off_thread(info.Env(), [=] { set_project(path, project); });
}

Napi::Value js_project_of(const Napi::CallbackInfo& info) {
  return run_off_thread<uint32_t>(
      info.Env(), [path = Arguments(info).text()] { return project_of(path); },
      [](Napi::Env env, uint32_t& project) -> Napi::Value { return Napi::Number::New(env, project); });
}

Napi::Value js_limit_project(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string path = args.text();
  uint32_t project = static_cast<uint32_t>(args.count().value_or(0));
  uint64_t bytes = args.count().value_or(0);
  return run_off_thread(info.Env(), [=] { limit_project(path, project, bytes); });
}

Napi::Value js_project_usage(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string path = args.text();
  uint32_t project = static_cast<uint32_t>(args.count().value_or(0));
  return run_off_thread<ProjectUsage>(
      info.Env(), [=] { return project_usage(path, project); },
      [](Napi::Env env, ProjectUsage& usage) -> Napi::Value {
        Napi::Object row = Napi::Object::New(env);
        row.Set("bytes", Napi::Number::New(env, static_cast<double>(usage.bytes)));
        row.Set("files", Napi::Number::New(env, static_cast<double>(usage.files)));
        row.Set("limit", Napi::Number::New(env, static_cast<double>(usage.limit)));
        return row;
      });
}

}  // namespace

void init_storage(Napi::Env env, Napi::Object exports) {
  auto add = [&](const char* name, Napi::Value (*call)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, call, name));
  };
  add("projectQuotaRefusal", js_project_quota_refusal);
  add("setProject", js_set_project);
  add("projectOf", js_project_of);
  add("limitProject", js_limit_project);
  add("projectUsage", js_project_usage);
  if (init_subvolumes) init_subvolumes(env, exports);
}

}  // namespace gantry::binding
