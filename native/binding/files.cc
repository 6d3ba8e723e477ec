#include "files.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "arguments.h"
#include "gantry/bind_in_root.h"
#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/mount.h"
#include "gantry/path.h"
#include "gantry/root_files.h"
#include "gantry/tree.h"
#include "task.h"

namespace gantry::binding {
namespace {

Napi::Value js_mount(const Napi::CallbackInfo& info) {
  Arguments args(info);
  MountRequest request;
  request.type = args.text();
  request.source = args.text();
  request.options = args.texts();
  return run_off_thread(info.Env(), [request, target = args.text()] { mount_at(request, target); });
}

Napi::Value js_unmount(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string target = args.text();
  bool lazy = args.flag();
  return run_off_thread(info.Env(), [target, lazy] { unmount_at(target, lazy); });
}

Napi::Value js_mounts_below(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    Napi::Array all = Napi::Array::New(env);
    uint32_t at = 0;
    for (const MountPoint& one : mounts_below(Arguments(info).text())) {
      Napi::Object row = Napi::Object::New(env);
      row.Set("target", one.target);
      row.Set("type", one.type);
      row.Set("source", one.source);
      all.Set(at++, row);
    }
    return all;
  });
}

Napi::Value js_file_system(const Napi::CallbackInfo& info) {
  return run_off_thread<FileSystem>(
      info.Env(), [path = Arguments(info).text()] { return file_system_of(path); },
      [](Napi::Env env, FileSystem& found) -> Napi::Value {
        Napi::Object row = Napi::Object::New(env);
        row.Set("type", found.type);
        row.Set("free", Napi::Number::New(env, static_cast<double>(found.free)));
        row.Set("total", Napi::Number::New(env, static_cast<double>(found.total)));
        return row;
      });
}

Napi::Value js_remove_tree(const Napi::CallbackInfo& info) {
  return run_off_thread(info.Env(), [path = Arguments(info).text()] { remove_tree(path); });
}

Napi::Value js_copy_tree(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string from = args.text();
  std::string to = args.text();
  return run_off_thread(info.Env(), [from, to] {
    UniqueFd source = open_folder(from, O_RDONLY);
    UniqueFd target = open_folder(to, O_RDONLY);
    copy_tree(source.get(), target.get(), true);
  });
}

Napi::Value js_tree_size(const Napi::CallbackInfo& info) {
  return run_off_thread<uint64_t>(
      info.Env(), [path = Arguments(info).text()] { return tree_size(path); }, size_to_js);
}

Napi::Value js_sync(const Napi::CallbackInfo& info) {
  return run_off_thread(info.Env(), [path = Arguments(info).text()] {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) throw_errno("open", path);
    if (syncfs(fd.get()) != 0) throw_errno("syncfs", path);
  });
}

Napi::Value js_set_xattr(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string path = args.text();
  std::string name = args.text();
  std::string value = args.bytes();
  return run_off_thread(info.Env(), [path, name, value] {
    if (lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0) != 0) throw_errno("setxattr", path);
  });
}

Napi::Value js_get_xattr(const Napi::CallbackInfo& info) {
  Arguments args(info);
  std::string path = args.text();
  std::string name = args.text();
  return run_off_thread<std::optional<std::string>>(
      info.Env(),
      [path, name]() -> std::optional<std::string> {
        std::string value(65536, '\0');
        ssize_t length = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
        if (length < 0) {
          if (errno == ENODATA || errno == ENOTSUP) return std::nullopt;
          throw_errno("getxattr", path);
        }
        value.resize(static_cast<size_t>(length));
        return value;
      },
      optional_bytes_to_js);
}

Napi::Value js_open_root(const Napi::CallbackInfo& info) {
  return run_off_thread<int>(
      info.Env(), [path = Arguments(info).text()] { return open_folder(path).release(); },
      [](Napi::Env env, int& fd) -> Napi::Value { return Napi::Number::New(env, fd); });
}

Napi::Value js_stat_in(const Napi::CallbackInfo& info) {
  Arguments args(info);
  int root = args.fd();
  std::string path = args.text();
  bool follow = args.flag();
  return run_off_thread<RootStat>(
      info.Env(), [root, path, follow] { return stat_in_root(root, path, follow); },
      [](Napi::Env env, RootStat& found) -> Napi::Value {
        Napi::Object row = Napi::Object::New(env);
        row.Set("name", found.name);
        row.Set("size", Napi::Number::New(env, static_cast<double>(found.st.st_size)));
        row.Set("mode", Napi::Number::New(env, found.st.st_mode));
        row.Set("mtimeMs", Napi::Number::New(env, static_cast<double>(found.st.st_mtim.tv_sec) * 1e3 +
                                                      static_cast<double>(found.st.st_mtim.tv_nsec) / 1e6));
        row.Set("linkTarget", found.link_target);
        return row;
      });
}

Napi::Value js_read_file_in(const Napi::CallbackInfo& info) {
  Arguments args(info);
  int root = args.fd();
  std::string path = args.text();
  uint64_t limit = args.count().value_or(UINT64_MAX);
  return run_off_thread<std::optional<std::string>>(
      info.Env(), [root, path, limit] { return read_file_in_root(root, path, limit); }, optional_bytes_to_js);
}

Napi::Value js_make_dir_in(const Napi::CallbackInfo& info) {
  Arguments args(info);
  int root = args.fd();
  return run_off_thread<bool>(
      info.Env(), [root, path = args.text()] { return make_dir_in_root(root, path); }, flag_to_js);
}

Napi::Value js_make_file_in(const Napi::CallbackInfo& info) {
  Arguments args(info);
  int root = args.fd();
  return run_off_thread<bool>(
      info.Env(), [root, path = args.text()] { return make_file_in_root(root, path); }, flag_to_js);
}

Napi::Value js_make_link_in(const Napi::CallbackInfo& info) {
  Arguments args(info);
  int root = args.fd();
  std::string path = args.text();
  std::string target = args.text();
  return run_off_thread<bool>(
      info.Env(), [root, path, target] { return make_link_in_root(root, path, target); }, flag_to_js);
}

Napi::Value js_copy_out_of(const Napi::CallbackInfo& info) {
  Arguments args(info);
  int root = args.fd();
  std::string path = args.text();
  std::string to = args.text();
  return run_off_thread<bool>(
      info.Env(), [root, path, to] { return copy_out_of_root(root, path, to); }, flag_to_js);
}

Napi::Value js_bind_in(const Napi::CallbackInfo& info) {
  Arguments args(info);
  PlaceInRoot source{.root = args.fd(), .path = args.text()};
  PlaceInRoot target{.root = args.fd(), .path = args.text()};
  bool read_only = args.flag();
  return run_off_thread(info.Env(), [source, target, read_only] { bind_in_root(source, target, read_only); });
}

/// Words of mount(8), as far as a bind into a running container takes them.
BindOptions bind_options(const std::vector<std::string>& words) {
  BindOptions options;
  for (const std::string& word : words) {
    if (word == "bind") {
      options.recursive = false;
    } else if (word == "ro") {
      options.read_only = true;
    } else if (word == "rro") {
      options.read_only = options.read_only_tree = true;
    } else if (word == "private" || word == "rprivate") {
      options.propagation = 1 << 18;
    } else if (word == "slave" || word == "rslave") {
      options.propagation = 1 << 19;
    } else if (word == "shared" || word == "rshared") {
      options.propagation = 1 << 20;
    } else if (word != "rbind" && word != "rw") {
      throw InvalidInput("a bind into a running container takes no option " + word);
    }
  }
  return options;
}

Napi::Value js_bind_into(const Napi::CallbackInfo& info) {
  Arguments args(info);
  PlaceInRoot source{.root = args.fd(), .path = args.text()};
  int mount_namespace = args.fd();
  PlaceInRoot target{.root = args.fd(), .path = args.text()};
  std::vector<std::string> words = args.texts();
  return run_off_thread(info.Env(), [source, mount_namespace, target, words] {
    bind_in_namespace(source, mount_namespace, target, bind_options(words));
  });
}

Napi::Value js_unmount_from(const Napi::CallbackInfo& info) {
  Arguments args(info);
  int mount_namespace = args.fd();
  PlaceInRoot target{.root = args.fd(), .path = args.text()};
  return run_off_thread(info.Env(), [mount_namespace, target] { unmount_in_namespace(mount_namespace, target); });
}

}  // namespace

Napi::Value size_to_js(Napi::Env env, uint64_t& size) { return Napi::Number::New(env, static_cast<double>(size)); }

Napi::Value flag_to_js(Napi::Env env, bool& flag) { return Napi::Boolean::New(env, flag); }

Napi::Value optional_bytes_to_js(Napi::Env env, std::optional<std::string>& bytes) {
  if (!bytes) return env.Undefined();
  return Napi::Buffer<char>::Copy(env, bytes->data(), bytes->size());
}

void init_files(Napi::Env env, Napi::Object exports) {
  auto add = [&](const char* name, Napi::Value (*call)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, call, name));
  };
  add("mount", js_mount);
  add("unmount", js_unmount);
  add("mountsBelow", js_mounts_below);
  add("fileSystem", js_file_system);
  add("removeTree", js_remove_tree);
  add("copyTree", js_copy_tree);
  add("treeSize", js_tree_size);
  add("sync", js_sync);
  add("setXattr", js_set_xattr);
  add("getXattr", js_get_xattr);
  add("openRoot", js_open_root);
  add("statIn", js_stat_in);
  add("readFileIn", js_read_file_in);
  add("makeDirIn", js_make_dir_in);
  add("makeFileIn", js_make_file_in);
  add("makeLinkIn", js_make_link_in);
  add("copyOutOf", js_copy_out_of);
  add("bindIn", js_bind_in);
  add("bindInto", js_bind_into);
  add("unmountFrom", js_unmount_from);
  init_archives(env, exports);
  init_storage(env, exports);
}

}  // namespace gantry::binding
