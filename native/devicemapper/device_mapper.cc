#include "device_mapper.h"

#include <libdevmapper.h>

#include <cerrno>
#include <cstring>
#include <mutex>

#include "gantry/error.h"

namespace gantry {
namespace {

std::mutex& library() {
  static std::mutex mutex;
  return mutex;
}

extern "C" void log_nothing(int, const char*, int, int, const char*, ...) {}

/// One request to the kernel. Moves and copies are not needed; it ends with its scope.
class Task {
 public:
  Task(int type, const char* operation, const std::string& name) : operation_(operation), name_(name) {
    static std::once_flag once;
    std::call_once(once, [] {
      // The library would print what the caller is told by an exception.
      dm_log_with_errno_init(log_nothing);
      dm_udev_set_sync_support(0);
    });
    task_ = dm_task_create(type);
    // The library opens the kernel's control node for this, and makes nothing where there is none.
    if (!task_) throw SysError(ENODEV, operation_, name_);
    if (!name_.empty() && !dm_task_set_name(task_, name_.c_str())) {
      dm_task_destroy(task_);
      throw SysError(EINVAL, operation_, name_);
    }
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() { dm_task_destroy(task_); }

  dm_task* get() const { return task_; }

  void check(int done) const {
    if (!done) throw SysError(EINVAL, operation_, name_);
  }

  /// udev shall not look into the device: what it holds open cannot be removed. And nobody makes links to it.
  void keep_udev_away() {
    uint32_t cookie = 0;
    check(dm_task_set_cookie(task_, &cookie,
                             DM_UDEV_DISABLE_DM_RULES_FLAG | DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |
                                 DM_UDEV_DISABLE_DISK_RULES_FLAG | DM_UDEV_DISABLE_OTHER_RULES_FLAG |
                                 DM_UDEV_DISABLE_LIBRARY_FALLBACK));
  }

  /// 0, or the kernel's error number.
  int run() {
    if (dm_task_run(task_)) return 0;
    const int error = dm_task_get_errno(task_);
    // The library asks for the kernel's version first, and gives no number when there is nobody to ask.
    return error != 0 ? error : ENODEV;
  }

  void run_or_throw() {
    if (const int error = run(); error != 0) throw SysError(error, operation_, name_);
  }

 private:
  const char* operation_;
  std::string name_;
  dm_task* task_;
};

DeviceInfo to_info(const Task& task) {
  dm_info info{};
  task.check(dm_task_get_info(task.get(), &info));
  return {info.major, info.minor, info.open_count, info.suspended != 0, info.deferred_remove != 0};
}

}  // namespace

std::string device_mapper_version() {
  const std::scoped_lock one(library());
  Task task(DM_DEVICE_VERSION, "dm version", "");
  task.run_or_throw();
  char version[64] = {};
  task.check(dm_task_get_driver_version(task.get(), version, sizeof version));
  return version;
}

DeviceInfo create_device(const std::string& name, const std::string& uuid, const std::vector<DeviceTarget>& table) {
  const std::scoped_lock one(library());
  Task task(DM_DEVICE_CREATE, "dm create", name);
  task.check(dm_task_set_uuid(task.get(), uuid.c_str()));
  for (const DeviceTarget& target : table)
    task.check(dm_task_add_target(task.get(), target.start, target.length, target.type.c_str(), target.params.c_str()));
  task.keep_udev_away();
  task.run_or_throw();
  return to_info(task);
}

void remove_device(const std::string& name, bool deferred) {
  const std::scoped_lock one(library());
  Task task(DM_DEVICE_REMOVE, "dm remove", name);
  if (deferred) task.check(dm_task_deferred_remove(task.get()));
  task.keep_udev_away();
  if (const int error = task.run(); error != 0 && error != ENXIO) throw SysError(error, "dm remove", name);
}

void message_device(const std::string& name, const std::string& message) {
  const std::scoped_lock one(library());
  Task task(DM_DEVICE_TARGET_MSG, "dm message", name);
  task.check(dm_task_set_sector(task.get(), 0));
  task.check(dm_task_set_message(task.get(), message.c_str()));
  if (const int error = task.run(); error != 0) throw SysError(error, "dm message " + message, name);
}

void cancel_device_removal(const std::string& name) { message_device(name, "@cancel_deferred_remove"); }

std::optional<DeviceInfo> device_info(const std::string& name) {
  const std::scoped_lock one(library());
  Task task(DM_DEVICE_INFO, "dm info", name);
  if (const int error = task.run(); error == ENXIO)
    return std::nullopt;
  else if (error != 0)
    throw SysError(error, "dm info", name);
  dm_info info{};
  task.check(dm_task_get_info(task.get(), &info));
  if (!info.exists) return std::nullopt;
  return to_info(task);
}

std::vector<DeviceTarget> device_status(const std::string& name) {
  const std::scoped_lock one(library());
  Task task(DM_DEVICE_STATUS, "dm status", name);
  // Asking must not write what is not written yet.
  task.check(dm_task_no_flush(task.get()));
  task.run_or_throw();
  std::vector<DeviceTarget> all;
  void* next = nullptr;
  do {
    DeviceTarget target;
    char* type = nullptr;
    char* params = nullptr;
    next = dm_get_next_target(task.get(), next, &target.start, &target.length, &type, &params);
    if (!type) continue;
    target.type = type;
    target.params = params ? params : "";
    all.push_back(std::move(target));
  } while (next);
  return all;
}

void suspend_device(const std::string& name) {
  const std::scoped_lock one(library());
  Task task(DM_DEVICE_SUSPEND, "dm suspend", name);
  task.run_or_throw();
}

void resume_device(const std::string& name) {
  const std::scoped_lock one(library());
  Task task(DM_DEVICE_RESUME, "dm resume", name);
  task.keep_udev_away();
  task.run_or_throw();
}

std::vector<std::string> list_devices(const std::string& prefix) {
  const std::scoped_lock one(library());
  Task task(DM_DEVICE_LIST, "dm list", "");
  task.run_or_throw();
  std::vector<std::string> names;
  const dm_names* entry = dm_task_get_names(task.get());
  if (!entry || entry->dev == 0) return names;
  for (;;) {
    if (std::string(entry->name).starts_with(prefix)) names.emplace_back(entry->name);
    if (entry->next == 0) return names;
    entry = reinterpret_cast<const dm_names*>(reinterpret_cast<const char*>(entry) + entry->next);
  }
}

}  // namespace gantry
