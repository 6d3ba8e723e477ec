#include <fcntl.h>

#include "arguments.h"
#include "files.h"
#include "gantry/archive_input.h"
#include "gantry/blob.h"
#include "gantry/extract.h"
#include "gantry/pack.h"
#include "gantry/path.h"
#include "gantry/tar_reader.h"
#include "gantry/tree_changes.h"
#include "task.h"

namespace gantry::binding {
namespace {

Napi::Object digested_to_js(Napi::Env env, const Digested& digested) {
  Napi::Object row = Napi::Object::New(env);
  row.Set("digest", digested.digest);
  row.Set("size", Napi::Number::New(env, static_cast<double>(digested.size)));
  return row;
}

ArchiveLimits take_limits(Arguments& args) {
  ArchiveLimits limits;
  limits.entries = args.count().value_or(limits.entries);
  limits.bytes = args.count().value_or(limits.bytes);
  limits.ratio = args.count().value_or(limits.ratio);
  return limits;
}

struct Unpacked {
  Digested archive;
  uint64_t size;
};

Napi::Value js_unpack(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string target = args.text();
  int fd = args.fd();
  const std::string style = args.text();
  const Whiteouts whiteouts = style == "delete" ? Whiteouts::remove : Whiteouts::overlay;
  const bool user_xattr = style == "overlay-user";
  ArchiveLimits limits = take_limits(args);
  return run_off_thread<Unpacked>(
      info.Env(),
      [=] {
        UniqueFd root = open_folder(target, O_RDONLY);
        ArchiveInput input(fd, limits);
        TarReader archive(input, limits);
        ExtractOptions options;
        options.root = root.get();
        options.whiteouts = whiteouts;
        options.user_xattr = user_xattr;
        uint64_t size = extract(archive, options);
        return Unpacked{input.finish(), size};
      },
      [](Napi::Env env, Unpacked& unpacked) -> Napi::Value {
        Napi::Object row = Napi::Object::New(env);
        row.Set("diffId", unpacked.archive.digest);
        row.Set("size", Napi::Number::New(env, static_cast<double>(unpacked.size)));
        return row;
      });
}

Napi::Value js_unpack_into(const Napi::CallbackInfo& info) {
  Arguments args(info);
  int root = args.fd();
  std::string path = args.text();
  int fd = args.fd();
  ExtractOptions options;
  options.root = root;
  options.no_overwrite_dir_non_dir = args.flag();
  std::optional<uint64_t> uid = args.count();
  std::optional<uint64_t> gid = args.count();
  if (uid && gid) options.owner = {static_cast<uint32_t>(*uid), static_cast<uint32_t>(*gid)};
  ArchiveLimits limits = take_limits(args);
  while (path.starts_with('/')) path.erase(0, 1);
  while (path.ends_with('/')) path.pop_back();
  options.base = path;
  return run_off_thread(info.Env(), [=] {
    ArchiveInput input(fd, limits);
    TarReader archive(input, limits);
    extract(archive, options);
    input.finish();
  });
}

Napi::Value js_ingest(const Napi::CallbackInfo& info) {
  Arguments args(info);
  int fd = args.fd();
  std::string path = args.text();
  uint64_t limit = args.count().value_or(UINT64_MAX);
  UniqueFd tee(args.fd());
  auto owned = std::make_shared<UniqueFd>(std::move(tee));
  return run_off_thread<Digested>(
      info.Env(), [=] { return ingest(fd, path, limit, std::move(*owned)); }, digested_value);
}

Napi::Value js_hash_uncompressed(const Napi::CallbackInfo& info) {
  return run_off_thread<Digested>(
      info.Env(), [fd = Arguments(info).fd()] { return hash_uncompressed(fd); }, digested_value);
}

Napi::Value js_decompress(const Napi::CallbackInfo& info) {
  Arguments args(info);
  int from = args.fd();
  int to = args.fd();
  return run_off_thread(info.Env(), [=] { decompress(from, to); });
}

Napi::Value js_compress(const Napi::CallbackInfo& info) {
  Arguments args(info);
  int from = args.fd();
  int to = args.fd();
  std::string word = args.text();
  Compression compression = word == "gzip" ? Compression::gzip : word == "zstd" ? Compression::zstd : Compression::none;
  return run_off_thread<Compressed>(
      info.Env(), [=] { return compress(from, to, compression); },
      [](Napi::Env env, Compressed& both) -> Napi::Value {
        Napi::Object row = Napi::Object::New(env);
        row.Set("compressed", digested_to_js(env, both.compressed));
        row.Set("uncompressed", digested_to_js(env, both.uncompressed));
        return row;
      });
}

Napi::Value js_pack_upper(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Upper upper{.upper = args.text(), .lowers = args.texts()};
  int fd = args.fd();
  upper.user_xattr = args.flag();
  return run_off_thread<Digested>(
      info.Env(), [=] { return pack_upper(upper, {.holes = true}, fd); }, digested_value);
}

Napi::Value js_pack_diff(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string tree = args.text();
  std::optional<std::string> parent = args.optional_text();
  int fd = args.fd();
  Compare compare = args.flag() ? Compare::content : Compare::properties;
  PackForm form;
  form.holes = args.flag();
  form.exact_times = args.flag();
  return run_off_thread<Digested>(
      info.Env(), [=] { return pack_diff(tree, parent, compare, form, fd); }, digested_value);
}

Napi::Value js_changes_upper(const Napi::CallbackInfo& info) {
  Arguments args(info);
  Upper upper{.upper = args.text(), .lowers = args.texts()};
  upper.user_xattr = args.flag();
  return run_off_thread<std::vector<Change>>(
      info.Env(), [=] { return collect_changes([&](const TakeChange& take) { walk_upper(upper, true, take); }); },
      changes_to_js);
}

Napi::Value js_changes_diff(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string tree = args.text();
  std::optional<std::string> parent = args.optional_text();
  return run_off_thread<std::vector<Change>>(
      info.Env(),
      [=] {
        return collect_changes([&](const TakeChange& take) { walk_diff(tree, parent, Compare::properties, take); });
      },
      changes_to_js);
}

Napi::Value js_size_diff(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string tree = args.text();
  std::optional<std::string> parent = args.optional_text();
  return run_off_thread<uint64_t>(
      info.Env(),
      [=] { return changed_size([&](const TakeChange& take) { walk_diff(tree, parent, Compare::properties, take); }); },
      size_to_js);
}

Napi::Value js_pack_path(const Napi::CallbackInfo& info) {
  Arguments args(info);
  int root = args.fd();
  std::string path = args.text();
  int fd = args.fd();
  std::optional<std::string> rename = args.optional_text();
  return run_off_thread(info.Env(), [=] { pack_path(root, path, fd, rename); });
}

}  // namespace

Napi::Value digested_value(Napi::Env env, Digested& digested) { return digested_to_js(env, digested); }

Napi::Value changes_to_js(Napi::Env env, std::vector<Change>& changes) {
  Napi::Array all = Napi::Array::New(env, changes.size());
  uint32_t at = 0;
  for (const Change& change : changes) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("path", change.path);
    row.Set("kind", change.kind == ChangeKind::added     ? "added"
                    : change.kind == ChangeKind::deleted ? "deleted"
                                                         : "modified");
    all.Set(at++, row);
  }
  return all;
}

void init_archives(Napi::Env env, Napi::Object exports) {
  auto add = [&](const char* name, Napi::Value (*call)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, call, name));
  };
  add("unpack", js_unpack);
  add("unpackInto", js_unpack_into);
  add("ingest", js_ingest);
  add("hashUncompressed", js_hash_uncompressed);
  add("decompress", js_decompress);
  add("compress", js_compress);
  add("packUpper", js_pack_upper);
  add("packDiff", js_pack_diff);
  add("changesUpper", js_changes_upper);
  add("changesDiff", js_changes_diff);
  add("sizeDiff", js_size_diff);
  add("packPath", js_pack_path);
}

}  // namespace gantry::binding
