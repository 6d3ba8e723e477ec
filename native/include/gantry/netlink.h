#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

struct mnl_socket;

namespace gantry {

/// The attributes in a stretch of memory, for a range-based loop; ends at the first that does not fit.
class AttributeRange {
 public:
  AttributeRange(const void* first, size_t size)
      : first_(static_cast<const uint8_t*>(first)), end_(static_cast<const uint8_t*>(first) + size) {}

  class Iterator {
   public:
    Iterator(const uint8_t* at, const uint8_t* end) : at_(fits(at, end) ? at : end), end_(end) {}
    const nlattr* operator*() const { return reinterpret_cast<const nlattr*>(at_); }
    Iterator& operator++() {
      size_t step = NLA_ALIGN(reinterpret_cast<const nlattr*>(at_)->nla_len);
      const uint8_t* next = step < static_cast<size_t>(end_ - at_) ? at_ + step : end_;
      at_ = fits(next, end_) ? next : end_;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return at_ != other.at_; }

   private:
    static bool fits(const uint8_t* at, const uint8_t* end) {
      if (end - at < NLA_HDRLEN) return false;
      size_t size = reinterpret_cast<const nlattr*>(at)->nla_len;
      return size >= NLA_HDRLEN && size <= static_cast<size_t>(end - at);
    }
    const uint8_t* at_;
    const uint8_t* end_;
  };

  Iterator begin() const { return {first_, end_}; }
  Iterator end() const { return {end_, end_}; }

 private:
  const uint8_t* first_;
  const uint8_t* end_;
};

/// The attributes of a message after its family's fixed part of `skip` bytes.
AttributeRange attributes(const nlmsghdr* header, size_t skip);
AttributeRange nested_attributes(const nlattr* attribute);

/// Builds one netlink message in memory of its own: a header, a family's fixed part, then attributes.
class NetlinkMessage {
 public:
  NetlinkMessage(uint16_t type, uint16_t flags);

  /// Appends the family's fixed header; call it first, once. The pointer is good until the next append.
  template <typename Header>
  Header* header() {
    return static_cast<Header*>(extend(sizeof(Header)));
  }

  void put(uint16_t type, const void* data, size_t size);
  void put_string(uint16_t type, std::string_view text);
  void put_u8(uint16_t type, uint8_t value) { put(type, &value, sizeof value); }
  void put_u16(uint16_t type, uint16_t value) { put(type, &value, sizeof value); }
  void put_u32(uint16_t type, uint32_t value) { put(type, &value, sizeof value); }
  /// In network byte order, as nf_tables wants its numbers.
  void put_be32(uint16_t type, uint32_t value);

  /// Opens a nested attribute; what `fill` puts is inside it.
  template <typename Fill>
  void nest(uint16_t type, Fill fill) {
    size_t start = begin_nest(type);
    fill();
    end_nest(start);
  }
  size_t begin_nest(uint16_t type);
  void end_nest(size_t start);

  nlmsghdr* finish(uint32_t sequence);
  size_t size() const noexcept { return bytes_.size(); }
  /// Room for raw fixed parts inside attributes (`struct ifinfomsg` of a veth's peer).
  void* extend(size_t size);

 private:
  std::vector<uint8_t> bytes_;
};

/// One netlink socket of the network namespace that the calling thread is in. Not shared between threads.
class NetlinkSocket {
 public:
  explicit NetlinkSocket(int protocol);
  ~NetlinkSocket();
  NetlinkSocket(const NetlinkSocket&) = delete;
  NetlinkSocket& operator=(const NetlinkSocket&) = delete;

  /// Sends and waits for the acknowledgement. Returns 0 or the kernel's errno; what the kernel said in words is in
  /// `reason()`.
  int request(NetlinkMessage& message);

  /// Sends a dump request and calls `each` for every message of the answer. A dump that was interrupted by a change is
  /// asked again (`restart` is called before, to drop what came).
  void dump(const std::function<NetlinkMessage()>& make, const std::function<void(const nlmsghdr*)>& each,
            const std::function<void()>& restart);

  /// Sends messages as one nfnetlink batch and waits until the last is acknowledged. Returns 0 or the first error.
  /// `failed` gets the index of the message that failed, or -1 when the commit did.
  int batch(std::vector<NetlinkMessage>& messages, uint8_t subsystem, int* failed);

  const std::string& reason() const noexcept { return reason_; }

 private:
  int read_ack(uint32_t sequence);
  void read_reason(const nlmsghdr* header);

  mnl_socket* socket_;
  uint32_t port_ = 0;
  uint32_t sequence_ = 0;
  std::string reason_;
};

}  // namespace gantry
