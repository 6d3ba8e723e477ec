#include <fcntl.h>

#include "arguments.h"
#include "files.h"
#include "gantry/archive_input.h"
#include "gantry/blob.h"
#include "gantry/extract.h"
#include "gantry/path.h"
#include "gantry/tar_reader.h"
#include "task.h"

namespace gantry::binding {
namespace {

Napi::Object digested_to_js(Napi::Env env, const Digested& digested) {
  Napi::Object row = Napi::Object::New(env);
  row.Set("digest", digested.digest);
  row.Set("size", Napi::Number::New(env, static_cast<double>(digested.size)));
  return row;
}

Napi::Value digested_value(Napi::Env env, Digested& digested) { return digested_to_js(env, digested); }

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
  Whiteouts whiteouts = args.text() == "overlay" ? Whiteouts::overlay : Whiteouts::remove;
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
  // Closed at the end, so that whoever reads it sees the end.
  auto owned = std::make_shared<UniqueFd>(std::move(tee));
  return run_off_thread<Digested>(
      info.Env(),
      [=] {
        UniqueFd close_after = std::move(*owned);
        return ingest(fd, path, limit, close_after.get());
      },
      digested_value);
}

Napi::Value js_hash_uncompressed(const Napi::CallbackInfo& info) {
  return run_off_thread<Digested>(
      info.Env(), [fd = Arguments(info).fd()] { return hash_uncompressed(fd); }, digested_value);
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

}  // namespace

void init_archives(Napi::Env env, Napi::Object exports) {
  auto add = [&](const char* name, Napi::Value (*call)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, call, name));
  };
  add("unpack", js_unpack);
  add("unpackInto", js_unpack_into);
  add("ingest", js_ingest);
  add("hashUncompressed", js_hash_uncompressed);
  add("compress", js_compress);
}

}  // namespace gantry::binding
