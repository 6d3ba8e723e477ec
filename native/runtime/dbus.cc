#include "dbus.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "console.h"
#include "gantry/error.h"

namespace gantry::runtime {
namespace {

constexpr std::uint8_t kCall = 1, kReturn = 2, kError = 3, kSignal = 4;
// Codes of header fields.
constexpr std::uint8_t kPath = 1, kInterface = 2, kMember = 3, kErrorName = 4, kReplySerial = 5, kDestination = 6,
                       kSignature = 8;
constexpr std::size_t kMaxMessage = 1u << 20;
constexpr int kTimeoutMs = 30000;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "messages are written in the order of this machine");

void align(std::string& bytes, std::size_t to) { bytes.resize((bytes.size() + to - 1) / to * to, '\0'); }

void put32(std::string& bytes, std::uint32_t value) {
  align(bytes, 4);
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_header_field(std::string& bytes, std::uint8_t code, char type, const std::string& value) {
  align(bytes, 8);
  bytes += static_cast<char>(code);
  bytes += '\1';
  bytes += type;
  bytes += '\0';
  if (type == 'g') {
    bytes += static_cast<char>(value.size());
  } else {
    put32(bytes, static_cast<std::uint32_t>(value.size()));
  }
  bytes += value;
  bytes += '\0';
}

/// Reads values one after another; everything that the other side says about lengths is checked.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool at_end() const { return at_ >= bytes_.size(); }
  void align(std::size_t to) { at_ = (at_ + to - 1) / to * to; }
  std::uint8_t byte() {
    need(1);
    return static_cast<std::uint8_t>(bytes_[at_++]);
  }
  std::uint32_t number() {
    align(4);
    need(4);
    std::uint32_t value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::string text(std::size_t size) {
    need(size + 1);
    std::string value(bytes_.substr(at_, size));
    at_ += size + 1;
    return value;
  }
  std::string string() { return text(number()); }
  std::string signature() { return text(byte()); }

 private:
  void need(std::size_t size) const {
    if (at_ > bytes_.size() || bytes_.size() - at_ < size) throw InvalidInput("D-Bus: a message is cut short");
  }
  std::string_view bytes_;
  std::size_t at_ = 0;
};

}  // namespace

void DBusBody::align(std::size_t to) { runtime::align(bytes_, to); }
void DBusBody::put32(std::uint32_t value) { runtime::put32(bytes_, value); }

void DBusBody::put_text(const std::string& text) {
  put32(static_cast<std::uint32_t>(text.size()));
  bytes_ += text;
  bytes_ += '\0';
}

DBusBody& DBusBody::string(const std::string& value) {
  signature_ += 's';
  put_text(value);
  return *this;
}

DBusBody& DBusBody::boolean(bool value) {
  signature_ += 'b';
  put32(value);
  return *this;
}

std::size_t DBusBody::begin_array(const std::string& element_signature, std::size_t element_alignment) {
  signature_ += "a" + element_signature;
  put32(0);
  std::size_t length_at = bytes_.size() - 4;
  align(element_alignment);
  // The length counts from the first element on; where that is, is kept in its place until the end.
  auto begin = static_cast<std::uint32_t>(bytes_.size());
  std::memcpy(bytes_.data() + length_at, &begin, sizeof begin);
  return length_at;
}

void DBusBody::end_array(std::size_t handle) {
  std::uint32_t begin;
  std::memcpy(&begin, bytes_.data() + handle, sizeof begin);
  auto length = static_cast<std::uint32_t>(bytes_.size()) - begin;
  std::memcpy(bytes_.data() + handle, &length, sizeof length);
}

void DBusBody::begin_property(const std::string& name, const char* signature) {
  align(8);
  put_text(name);
  bytes_ += static_cast<char>(std::strlen(signature));
  bytes_ += signature;
  bytes_ += '\0';
}

void DBusBody::property(const std::string& name, const std::string& value) {
  begin_property(name, "s");
  put_text(value);
}

void DBusBody::property(const std::string& name, bool value) {
  begin_property(name, "b");
  put32(value);
}

void DBusBody::property(const std::string& name, std::uint64_t value) {
  begin_property(name, "t");
  align(8);
  bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void DBusBody::property32(const std::string& name, std::uint32_t value) {
  begin_property(name, "u");
  put32(value);
}

void DBusBody::property_signed32(const std::string& name, std::int32_t value) {
  begin_property(name, "i");
  put32(static_cast<std::uint32_t>(value));
}

void DBusBody::property(const std::string& name, const std::vector<std::uint32_t>& value) {
  begin_property(name, "au");
  put32(static_cast<std::uint32_t>(value.size() * 4));
  for (auto one : value) put32(one);
}

void DBusBody::property(const std::string& name, const std::vector<std::string>& value) {
  begin_property(name, "as");
  put32(0);
  std::size_t length_at = bytes_.size() - 4;
  for (const auto& one : value) put_text(one);
  auto length = static_cast<std::uint32_t>(bytes_.size() - length_at - 4);
  std::memcpy(bytes_.data() + length_at, &length, sizeof length);
}

void DBusBody::property(const std::string& name, const std::vector<std::pair<std::string, std::string>>& value) {
  begin_property(name, "a(ss)");
  put32(0);
  std::size_t length_at = bytes_.size() - 4;
  // Also before the first, and not counted.
  align(8);
  std::size_t begin = bytes_.size();
  for (const auto& [first, second] : value) {
    align(8);
    put_text(first);
    put_text(second);
  }
  auto length = static_cast<std::uint32_t>(bytes_.size() - begin);
  std::memcpy(bytes_.data() + length_at, &length, sizeof length);
}

std::vector<std::string> DBusMessage::strings() const {
  std::vector<std::string> all;
  Reader reader(body);
  for (char type : signature) {
    if (type == 'u') {
      reader.number();
    } else if (type == 'v') {
      if (reader.signature() != "s") break;
      all.push_back(reader.string());
    } else if (type == 's' || type == 'o') {
      all.push_back(reader.string());
    } else {
      break;
    }
  }
  return all;
}

DBus::DBus(const std::string& socket_path, bool bus)
    : socket_(connect_stream_socket(socket_path, "systemd at")), bus_(bus) {
  authenticate();
  if (bus_) call("/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", {}, "org.freedesktop.DBus");
}

void DBus::authenticate() {
  std::string id = std::to_string(::geteuid()), hex;
  for (char c : id) {
    hex += '3';
    hex += c;
  }
  // With BEGIN, so that it has been read when the answer comes: systemd leaves a call that it reads together with that
  // word lying until something else arrives.
  send(std::string(1, '\0') + "AUTH EXTERNAL " + hex + "\r\nBEGIN\r\n");
  std::string line;
  while (line.size() < 2 || line.compare(line.size() - 2, 2, "\r\n") != 0) {
    char c;
    receive(&c, 1);
    line += c;
    if (line.size() > 512) throw InvalidInput("D-Bus: the answer to the authentication has no end");
  }
  if (line.rfind("OK ", 0) != 0) throw InvalidInput("D-Bus: authentication was refused");
}

void DBus::send(const std::string& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    ssize_t n = ::send(socket_.get(), bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("send to systemd");
    done += static_cast<std::size_t>(n);
  }
}

void DBus::receive(char* to, std::size_t size) {
  while (size > 0) {
    struct pollfd wait = {socket_.get(), POLLIN, 0};
    int ready = ::poll(&wait, 1, kTimeoutMs);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) throw SysError(ETIMEDOUT, "wait for an answer of systemd");
    ssize_t n = ::recv(socket_.get(), to, size, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("receive from systemd");
    if (n == 0) throw SysError(ECONNRESET, "receive from systemd");
    to += n;
    size -= static_cast<std::size_t>(n);
  }
}

DBusMessage DBus::receive_message() {
  char fixed[16];
  receive(fixed, sizeof fixed);
  if (fixed[0] != 'l') throw InvalidInput("D-Bus: a message of another byte order");
  std::uint32_t body_size, fields_size;
  std::memcpy(&body_size, fixed + 4, sizeof body_size);
  std::memcpy(&fields_size, fixed + 12, sizeof fields_size);
  if (body_size > kMaxMessage || fields_size > kMaxMessage) throw InvalidInput("D-Bus: a message is too long");
  std::size_t padded = (fields_size + 7) / 8 * 8;
  std::string rest(padded + body_size, '\0');
  receive(rest.data(), rest.size());
  DBusMessage message;
  message.type = static_cast<std::uint8_t>(fixed[1]);
  message.body = rest.substr(padded);
  Reader fields(std::string_view(rest).substr(0, fields_size));
  while (!fields.at_end()) {
    // The fixed part is 16 bytes, so the fields keep their alignment here.
    fields.align(8);
    std::uint8_t code = fields.byte();
    std::string type = fields.signature();
    if (type == "u") {
      std::uint32_t value = fields.number();
      if (code == kReplySerial) message.reply_to = value;
    } else if (type == "s" || type == "o" || type == "g") {
      std::string value = type == "g" ? fields.signature() : fields.string();
      if (code == kErrorName) message.error = value;
      if (code == kMember) message.member = value;
      if (code == kSignature) message.signature = value;
    } else {
      throw InvalidInput("D-Bus: a header field of an unknown type");
    }
  }
  return message;
}

DBusMessage DBus::call(const std::string& path, const std::string& interface, const std::string& member,
                       const DBusBody& body, const std::string& destination) {
  std::uint32_t serial = ++serial_;
  std::string fields;
  put_header_field(fields, kPath, 'o', path);
  put_header_field(fields, kInterface, 's', interface);
  put_header_field(fields, kMember, 's', member);
  put_header_field(fields, kDestination, 's', destination);
  if (!body.signature().empty()) put_header_field(fields, kSignature, 'g', body.signature());
  std::string bytes = {'l', static_cast<char>(kCall), 0, 1};
  put32(bytes, static_cast<std::uint32_t>(body.bytes().size()));
  put32(bytes, serial);
  put32(bytes, static_cast<std::uint32_t>(fields.size()));
  bytes += fields;
  align(bytes, 8);
  bytes += body.bytes();
  send(bytes);
  for (;;) {
    DBusMessage message = receive_message();
    if (message.type == kSignal) signals_.push_back(std::move(message));
    if (message.reply_to != serial) continue;
    if (message.type == kError) {
      auto texts = message.strings();
      throw DBusError(message.error, texts.empty() ? "" : texts.front());
    }
    if (message.type == kReturn) return message;
  }
}

DBusMessage DBus::await_signal(const std::string& member) {
  for (;;) {
    auto found = std::find_if(signals_.begin(), signals_.end(), [&](const auto& one) { return one.member == member; });
    if (found != signals_.end()) {
      DBusMessage message = std::move(*found);
      signals_.erase(found);
      return message;
    }
    DBusMessage message = receive_message();
    if (message.type == kSignal) signals_.push_back(std::move(message));
  }
}

}  // namespace gantry::runtime
