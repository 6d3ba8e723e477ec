#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gantry {

/// One line of a device's table: which target serves which sectors (of 512 bytes), in the target's own words.
struct DeviceTarget {
  uint64_t start = 0;
  uint64_t length = 0;
  std::string type;
  std::string params;
};

/// What the kernel says of a device that exists.
struct DeviceInfo {
  uint32_t major = 0;
  uint32_t minor = 0;
  int open_count = 0;
  bool suspended = false;
  /// It goes when nobody has it open any more.
  bool removal_deferred = false;
};

/// Calls of the kernel's device-mapper through libdevmapper. Nodes below /dev/mapper are neither made nor waited for:
/// what a caller opens is a node that it makes itself from the device's numbers. One call at a time: the library keeps
/// state that threads share.
///
/// Version of the kernel's interface. A kernel without device-mapper is ENODEV.
std::string device_mapper_version();

/// Makes and activates a device.
DeviceInfo create_device(const std::string& name, const std::string& uuid, const std::vector<DeviceTarget>& table);

/// Absent is fine. `deferred` leaves one that is open to the kernel, which removes it when it is closed; else it is
/// EBUSY.
void remove_device(const std::string& name, bool deferred);

/// It stays though its removal was deferred.
void cancel_device_removal(const std::string& name);

/// Nothing when there is no such device.
std::optional<DeviceInfo> device_info(const std::string& name);

/// What the targets say of themselves, the words of their parameters replaced by their state.
std::vector<DeviceTarget> device_status(const std::string& name);

void message_device(const std::string& name, const std::string& message);

/// Holds back what is written; the file system on it is brought to a state that is whole.
void suspend_device(const std::string& name);
void resume_device(const std::string& name);

/// Names that begin with `prefix`.
std::vector<std::string> list_devices(const std::string& prefix);

}  // namespace gantry
