#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gantry/fd.h"

namespace gantry::runtime {

/// The little of D-Bus that is needed to speak with systemd: calls with arguments, their answers, and signals.

/// Arguments of a call in D-Bus's form, with their signature.
class DBusBody {
 public:
  DBusBody& string(const std::string& value);
  DBusBody& boolean(bool value);

  /// An array of structures or variants is begun with what `signature` says its elements are and ended with its handle.
  std::size_t begin_array(const std::string& element_signature, std::size_t element_alignment);
  void end_array(std::size_t handle);
  /// Element of an a(sv).
  void property(const std::string& name, const std::string& value);
  void property(const std::string& name, bool value);
  void property(const std::string& name, std::uint64_t value);
  void property32(const std::string& name, std::uint32_t value);
  void property_signed32(const std::string& name, std::int32_t value);
  void property(const std::string& name, const std::vector<std::uint32_t>& value);
  void property(const std::string& name, const std::vector<std::string>& value);
  void property(const std::string& name, const std::vector<std::pair<std::string, std::string>>& value);

  const std::string& signature() const { return signature_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void begin_property(const std::string& name, const char* signature);
  void align(std::size_t to);
  void put32(std::uint32_t value);
  void put_text(const std::string& text);
  std::string signature_, bytes_;
};

/// An answer, or a signal.
struct DBusMessage {
  std::uint8_t type = 0;
  std::uint32_t reply_to = 0;
  std::string error, member, signature, body;

  /// Strings among the arguments (s and o), in their order; stops at the first of another type but u, which is passed.
  std::vector<std::string> strings() const;
};

class DBusError : public std::runtime_error {
 public:
  DBusError(std::string name, const std::string& text)
      : std::runtime_error(name + (text.empty() ? "" : ": " + text)), name_(std::move(name)) {}
  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

/// A connection, which is authenticated as this process's user.
class DBus {
 public:
  /// `bus` tells a message bus from a private socket of systemd, where nobody gives names. Every wait for the other
  /// side ends after 30 seconds.
  DBus(const std::string& socket_path, bool bus);

  /// Throws DBusError for an error answer.
  DBusMessage call(const std::string& path, const std::string& interface, const std::string& member,
                   const DBusBody& body, const std::string& destination = "org.freedesktop.systemd1");
  /// The next signal of that name that arrives, or has arrived meanwhile.
  DBusMessage await_signal(const std::string& member);
  bool bus() const { return bus_; }

 private:
  void authenticate();
  void send(const std::string& bytes);
  void receive(char* to, std::size_t size);
  DBusMessage receive_message();

  UniqueFd socket_;
  bool bus_;
  std::uint32_t serial_ = 0;
  std::vector<DBusMessage> signals_;
};

}  // namespace gantry::runtime
