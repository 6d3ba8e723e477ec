#include "arguments.h"
#include "block_device.h"
#include "device_mapper.h"
#include "grow.h"
#include "task.h"

namespace gantry::binding {
namespace {

Napi::Value info_to_js(Napi::Env env, const DeviceInfo& info) {
  Napi::Object row = Napi::Object::New(env);
  row.Set("major", info.major);
  row.Set("minor", info.minor);
  row.Set("openCount", info.open_count);
  row.Set("suspended", info.suspended);
  row.Set("removalDeferred", info.removal_deferred);
  return row;
}

Napi::Value block_to_js(Napi::Env env, const BlockDevice& device, int fd) {
  Napi::Object row = Napi::Object::New(env);
  row.Set("major", device.major);
  row.Set("minor", device.minor);
  row.Set("bytes", static_cast<double>(device.bytes));
  if (fd >= 0) row.Set("fd", fd);
  return row;
}

Napi::Value js_version(const Napi::CallbackInfo& info) {
  return run_off_thread<std::string>(
      info.Env(), [] { return device_mapper_version(); },
      [](Napi::Env env, std::string& text) -> Napi::Value { return Napi::String::New(env, text); });
}

/// The table as type, start, length and parameters of each target in turn.
Napi::Value js_create(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string name = args.text();
  std::string uuid = args.text();
  std::vector<DeviceTarget> table;
  for (size_t left = args.count().value_or(0); left > 0; left--) {
    DeviceTarget target;
    target.type = args.text();
    target.start = args.count().value_or(0);
    target.length = args.count().value_or(0);
    target.params = args.text();
    table.push_back(std::move(target));
  }
  return run_off_thread<DeviceInfo>(
      info.Env(), [=] { return create_device(name, uuid, table); }, info_to_js);
}

Napi::Value js_remove(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string name = args.text();
  bool deferred = args.flag();
  return run_off_thread(info.Env(), [=] { remove_device(name, deferred); });
}

Napi::Value js_cancel_removal(const Napi::CallbackInfo& info) {
  return run_off_thread(info.Env(), [name = Arguments(info).text()] { cancel_device_removal(name); });
}

Napi::Value js_info(const Napi::CallbackInfo& info) {
  return run_off_thread<std::optional<DeviceInfo>>(
      info.Env(), [name = Arguments(info).text()] { return device_info(name); },
      [](Napi::Env env, std::optional<DeviceInfo>& found) {
        return found ? info_to_js(env, *found) : env.Undefined();
      });
}

Napi::Value js_status(const Napi::CallbackInfo& info) {
  return run_off_thread<std::vector<DeviceTarget>>(
      info.Env(), [name = Arguments(info).text()] { return device_status(name); },
      [](Napi::Env env, std::vector<DeviceTarget>& targets) -> Napi::Value {
        Napi::Array all = Napi::Array::New(env, targets.size());
        uint32_t at = 0;
        for (const DeviceTarget& target : targets) {
          Napi::Object row = Napi::Object::New(env);
          row.Set("type", target.type);
          row.Set("start", static_cast<double>(target.start));
          row.Set("length", static_cast<double>(target.length));
          row.Set("params", target.params);
          all.Set(at++, row);
        }
        return all;
      });
}

Napi::Value js_message(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string name = args.text();
  std::string message = args.text();
  return run_off_thread(info.Env(), [=] { message_device(name, message); });
}

Napi::Value js_suspend(const Napi::CallbackInfo& info) {
  return run_off_thread(info.Env(), [name = Arguments(info).text()] { suspend_device(name); });
}

Napi::Value js_resume(const Napi::CallbackInfo& info) {
  return run_off_thread(info.Env(), [name = Arguments(info).text()] { resume_device(name); });
}

Napi::Value js_list(const Napi::CallbackInfo& info) {
  return run_off_thread<std::vector<std::string>>(
      info.Env(), [prefix = Arguments(info).text()] { return list_devices(prefix); },
      [](Napi::Env env, std::vector<std::string>& names) -> Napi::Value {
        Napi::Array all = Napi::Array::New(env, names.size());
        uint32_t at = 0;
        for (const std::string& name : names) all.Set(at++, name);
        return all;
      });
}

struct Attached {
  int fd;
  BlockDevice device;
};

Napi::Value js_attach_loop(const Napi::CallbackInfo& info) {
  return run_off_thread<Attached>(
      info.Env(),
      [file = Arguments(info).text()] {
        Attached attached{};
        attached.fd = attach_loop(file, attached.device);
        return attached;
      },
      [](Napi::Env env, Attached& attached) { return block_to_js(env, attached.device, attached.fd); });
}

Napi::Value js_block_device(const Napi::CallbackInfo& info) {
  return run_off_thread<BlockDevice>(
      info.Env(), [path = Arguments(info).text()] { return block_device(path); },
      [](Napi::Env env, BlockDevice& device) { return block_to_js(env, device, -1); });
}

Napi::Value js_make_node(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string path = args.text();
  auto major = static_cast<uint32_t>(args.count().value_or(0));
  auto minor = static_cast<uint32_t>(args.count().value_or(0));
  return run_off_thread(info.Env(), [=] { make_block_node(path, major, minor); });
}

Napi::Value js_grow_file_system(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string tree = args.text();
  uint64_t bytes = args.count().value_or(0);
  return run_off_thread(info.Env(), [=] { grow_file_system(tree, bytes); });
}

}  // namespace
}  // namespace gantry::binding

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  using namespace gantry::binding;
  init_tasks(env);
  auto add = [&](const char* name, Napi::Value (*call)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, call, name));
  };
  add("version", js_version);
  add("create", js_create);
  add("remove", js_remove);
  add("cancelRemoval", js_cancel_removal);
  add("info", js_info);
  add("status", js_status);
  add("message", js_message);
  add("suspend", js_suspend);
  add("resume", js_resume);
  add("list", js_list);
  add("attachLoop", js_attach_loop);
  add("blockDevice", js_block_device);
  add("makeNode", js_make_node);
  add("growFileSystem", js_grow_file_system);
  return exports;
}

NODE_API_MODULE(devicemapper, init)
