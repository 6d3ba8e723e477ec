#include "arguments.h"
#include "files.h"
#include "gantry/btrfs.h"
#include "gantry/pack.h"
#include "gantry/project_quota.h"
#include "gantry/tree_changes.h"
#include "task.h"

namespace gantry::binding {
namespace {

Napi::Value js_create_subvolume(const Napi::CallbackInfo& info) {
  return run_off_thread(info.Env(), [path = Arguments(info).text()] { create_subvolume(path); });
}

Napi::Value js_snapshot_subvolume(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string from = args.text();
  std::string to = args.text();
  bool read_only = args.flag();
  return run_off_thread(info.Env(), [=] { snapshot_subvolume(from, to, read_only); });
}

Napi::Value js_remove_subvolume(const Napi::CallbackInfo& info) {
  return run_off_thread(info.Env(), [path = Arguments(info).text()] { remove_subvolume(path); });
}

Napi::Value js_has_inner_subvolumes(const Napi::CallbackInfo& info) {
  return run_off_thread<bool>(
      info.Env(), [path = Arguments(info).text()] { return has_inner_subvolumes(path); }, flag_to_js);
}

Napi::Value js_enable_subvolume_quotas(const Napi::CallbackInfo& info) {
  return run_off_thread(info.Env(), [path = Arguments(info).text()] { enable_subvolume_quotas(path); });
}

Napi::Value js_limit_subvolume(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string path = args.text();
  uint64_t bytes = args.count().value_or(0);
  return run_off_thread(info.Env(), [=] { limit_subvolume(path, bytes); });
}

/// Walks what two read-only subvolumes do not share.
std::function<void(const TakeChange&)> snapshot_walk(const std::string& tree, const std::string& parent) {
  return [=](const TakeChange& take) {
    const PathTree changed = changed_paths(tree, parent);
    walk_diff(tree, parent, Compare::properties, take, &changed);
  };
}

Napi::Value js_pack_snapshots(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string tree = args.text();
  std::string parent = args.text();
  int fd = args.fd();
  return run_off_thread<Digested>(
      info.Env(), [=] { return pack_changes(fd, snapshot_walk(tree, parent)); }, digested_value);
}

Napi::Value js_changes_snapshots(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string tree = args.text();
  std::string parent = args.text();
  return run_off_thread<std::vector<Change>>(
      info.Env(), [=] { return collect_changes(snapshot_walk(tree, parent)); }, changes_to_js);
}

Napi::Value js_size_snapshots(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string tree = args.text();
  std::string parent = args.text();
  return run_off_thread<uint64_t>(
      info.Env(), [=] { return changed_size(snapshot_walk(tree, parent)); }, size_to_js);
}

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
  add("createSubvolume", js_create_subvolume);
  add("snapshotSubvolume", js_snapshot_subvolume);
  add("removeSubvolume", js_remove_subvolume);
  add("hasInnerSubvolumes", js_has_inner_subvolumes);
  add("enableSubvolumeQuotas", js_enable_subvolume_quotas);
  add("limitSubvolume", js_limit_subvolume);
  add("packSnapshots", js_pack_snapshots);
  add("changesSnapshots", js_changes_snapshots);
  add("sizeSnapshots", js_size_snapshots);
  add("projectQuotaRefusal", js_project_quota_refusal);
  add("setProject", js_set_project);
  add("projectOf", js_project_of);
  add("limitProject", js_limit_project);
  add("projectUsage", js_project_usage);
}

}  // namespace gantry::binding
