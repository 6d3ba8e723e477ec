#include "arguments.h"
#include "files.h"
#include "gantry/btrfs.h"
#include "gantry/pack.h"
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

Napi::Value js_branched_at(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string tree = args.text();
  std::string parent = args.text();
  return run_off_thread<std::optional<uint64_t>>(
      info.Env(), [=] { return branched_at(tree, parent); },
      [](Napi::Env env, std::optional<uint64_t>& since) -> Napi::Value {
        if (!since) return env.Undefined();
        return Napi::Number::New(env, static_cast<double>(*since));
      });
}

/// The arguments that name a snapshot and what it came from, as a walk of what differs.
std::function<void(const TakeChange&)> snapshot_walk(Arguments& args) {
  std::string tree = args.text();
  std::string parent = args.text();
  uint64_t since = args.count().value_or(0);
  return [=](const TakeChange& take) {
    const KnownChanges known = changed_since(tree, parent, since);
    walk_diff(tree, parent, Compare::properties, take, &known);
  };
}

Napi::Value js_pack_snapshots(const Napi::CallbackInfo& info) {
  Arguments args(info);
  auto walk = snapshot_walk(args);
  int fd = args.fd();
  return run_off_thread<Digested>(
      info.Env(), [=] { return pack_changes({.holes = true}, fd, walk); }, digested_value);
}

Napi::Value js_changes_snapshots(const Napi::CallbackInfo& info) {
  Arguments args(info);
  return run_off_thread<std::vector<Change>>(
      info.Env(), [walk = snapshot_walk(args)] { return collect_changes(walk); }, changes_to_js);
}

Napi::Value js_size_snapshots(const Napi::CallbackInfo& info) {
  Arguments args(info);
  return run_off_thread<uint64_t>(
      info.Env(), [walk = snapshot_walk(args)] { return changed_size(walk); }, size_to_js);
}

}  // namespace

void init_subvolumes(Napi::Env env, Napi::Object exports) {
  auto add = [&](const char* name, Napi::Value (*call)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, call, name));
  };
  add("createSubvolume", js_create_subvolume);
  add("snapshotSubvolume", js_snapshot_subvolume);
  add("removeSubvolume", js_remove_subvolume);
  add("hasInnerSubvolumes", js_has_inner_subvolumes);
  add("enableSubvolumeQuotas", js_enable_subvolume_quotas);
  add("limitSubvolume", js_limit_subvolume);
  add("branchedAt", js_branched_at);
  add("packSnapshots", js_pack_snapshots);
  add("changesSnapshots", js_changes_snapshots);
  add("sizeSnapshots", js_size_snapshots);
}

}  // namespace gantry::binding
