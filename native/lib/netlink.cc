#include "gantry/netlink.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "gantry/error.h"

namespace gantry {

namespace {
constexpr size_t kReadBuffer = 64 * 1024;
constexpr int kDumpRetries = 8;
}  // namespace

AttributeRange attributes(const nlmsghdr* header, size_t skip) {
  const auto* payload = static_cast<const uint8_t*>(mnl_nlmsg_get_payload(header));
  size_t size = mnl_nlmsg_get_payload_len(header);
  size_t used = std::min(size, static_cast<size_t>(NLMSG_ALIGN(skip)));
  return {payload + used, size - used};
}

AttributeRange nested_attributes(const nlattr* attribute) {
  return {mnl_attr_get_payload(attribute), mnl_attr_get_payload_len(attribute)};
}

NetlinkMessage::NetlinkMessage(uint16_t type, uint16_t flags) {
  bytes_.reserve(512);
  bytes_.resize(NLMSG_HDRLEN);
  auto* header = reinterpret_cast<nlmsghdr*>(bytes_.data());
  header->nlmsg_type = type;
  header->nlmsg_flags = flags;
}

void* NetlinkMessage::extend(size_t size) {
  size_t at = bytes_.size();
  bytes_.resize(at + NLMSG_ALIGN(size));
  return bytes_.data() + at;
}

void NetlinkMessage::put(uint16_t type, const void* data, size_t size) {
  auto* attribute = static_cast<nlattr*>(extend(NLA_HDRLEN + size));
  attribute->nla_type = type;
  attribute->nla_len = static_cast<uint16_t>(NLA_HDRLEN + size);
  if (size > 0) std::memcpy(reinterpret_cast<uint8_t*>(attribute) + NLA_HDRLEN, data, size);
}

void NetlinkMessage::put_string(uint16_t type, std::string_view text) {
  std::string terminated(text);
  put(type, terminated.c_str(), terminated.size() + 1);
}

void NetlinkMessage::put_be32(uint16_t type, uint32_t value) { put_u32(type, htonl(value)); }

size_t NetlinkMessage::begin_nest(uint16_t type) {
  size_t start = bytes_.size();
  auto* attribute = static_cast<nlattr*>(extend(NLA_HDRLEN));
  attribute->nla_type = static_cast<uint16_t>(type | NLA_F_NESTED);
  return start;
}

void NetlinkMessage::end_nest(size_t start) {
  size_t length = bytes_.size() - start;
  // The length of an attribute has 16 bits; a caller that puts more must cut its work into several messages.
  if (length > UINT16_MAX) throw InvalidInput("a netlink attribute is longer than 65535 bytes");
  reinterpret_cast<nlattr*>(bytes_.data() + start)->nla_len = static_cast<uint16_t>(length);
}

nlmsghdr* NetlinkMessage::finish(uint32_t sequence) {
  auto* header = reinterpret_cast<nlmsghdr*>(bytes_.data());
  header->nlmsg_len = static_cast<uint32_t>(bytes_.size());
  header->nlmsg_seq = sequence;
  return header;
}

NetlinkSocket::NetlinkSocket(int protocol) : socket_(mnl_socket_open2(protocol, SOCK_CLOEXEC)) {
  if (!socket_) throw_errno("socket", "netlink");
  if (mnl_socket_bind(socket_, 0, MNL_SOCKET_AUTOPID) < 0) {
    int err = errno;
    mnl_socket_close(socket_);
    throw SysError(err, "bind", "netlink");
  }
  port_ = mnl_socket_get_portid(socket_);
  int on = 1;
  mnl_socket_setsockopt(socket_, NETLINK_EXT_ACK, &on, sizeof on);
  mnl_socket_setsockopt(socket_, NETLINK_CAP_ACK, &on, sizeof on);
}

NetlinkSocket::~NetlinkSocket() { mnl_socket_close(socket_); }

void NetlinkSocket::read_reason(const nlmsghdr* header) {
  if (!(header->nlmsg_flags & NLM_F_ACK_TLVS)) return;
  const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header));
  size_t skip = sizeof *error;
  if (!(header->nlmsg_flags & NLM_F_CAPPED)) skip += mnl_nlmsg_get_payload_len(&error->msg);
  for (const nlattr* attribute : attributes(header, skip)) {
    if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_MSG) reason_ = mnl_attr_get_str(attribute);
  }
}

int NetlinkSocket::read_ack(uint32_t sequence) {
  std::vector<char> buffer(kReadBuffer);
  for (;;) {
    ssize_t size = mnl_socket_recvfrom(socket_, buffer.data(), buffer.size());
    if (size < 0) {
      if (errno == EINTR) continue;
      throw_errno("recv", "netlink");
    }
    int left = static_cast<int>(size);
    for (const auto* header = reinterpret_cast<const nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(header, left);
         header = mnl_nlmsg_next(header, &left)) {
      if (header->nlmsg_seq != sequence || header->nlmsg_type != NLMSG_ERROR) continue;
      read_reason(header);
      return -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header))->error;
    }
  }
}

int NetlinkSocket::request(NetlinkMessage& message) {
  reason_.clear();
  nlmsghdr* header = message.finish(++sequence_);
  header->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
  if (mnl_socket_sendto(socket_, header, header->nlmsg_len) < 0) throw_errno("send", "netlink");
  return read_ack(sequence_);
}

void NetlinkSocket::dump(const std::function<NetlinkMessage()>& make, const std::function<void(const nlmsghdr*)>& each,
                         const std::function<void()>& restart) {
  std::vector<char> buffer(kReadBuffer);
  for (int attempt = 0; attempt < kDumpRetries; attempt++) {
    restart();
    NetlinkMessage message = make();
    nlmsghdr* header = message.finish(++sequence_);
    header->nlmsg_flags |= NLM_F_REQUEST | NLM_F_DUMP;
    if (mnl_socket_sendto(socket_, header, header->nlmsg_len) < 0) throw_errno("send", "netlink");
    bool interrupted = false;
    bool done = false;
    while (!done) {
      ssize_t size = mnl_socket_recvfrom(socket_, buffer.data(), buffer.size());
      if (size < 0) {
        if (errno == EINTR) continue;
        throw_errno("recv", "netlink");
      }
      int left = static_cast<int>(size);
      for (const auto* part = reinterpret_cast<const nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(part, left);
           part = mnl_nlmsg_next(part, &left)) {
        if (part->nlmsg_seq != sequence_) continue;
        if (part->nlmsg_flags & NLM_F_DUMP_INTR) interrupted = true;
        if (part->nlmsg_type == NLMSG_DONE) {
          done = true;
          break;
        }
        if (part->nlmsg_type == NLMSG_ERROR) {
          int err = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(part))->error;
          if (err == 0) continue;
          throw SysError(err, "dump", "netlink");
        }
        each(part);
      }
    }
    if (!interrupted) return;
  }
  throw SysError(EAGAIN, "dump", "netlink");
}

int NetlinkSocket::batch(std::vector<NetlinkMessage>& messages, uint8_t subsystem, int* failed) {
  reason_.clear();
  *failed = -1;
  if (messages.empty()) return 0;
  auto boundary = [&](uint16_t type) {
    NetlinkMessage message(type, NLM_F_REQUEST);
    auto* header = message.header<nfgenmsg>();
    header->nfgen_family = AF_UNSPEC;
    header->version = NFNETLINK_V0;
    header->res_id = htons(subsystem);
    return message;
  };
  std::vector<char> bytes;
  auto append = [&](NetlinkMessage& message, uint32_t sequence, uint16_t flags) {
    nlmsghdr* header = message.finish(sequence);
    header->nlmsg_flags |= flags;
    const char* data = reinterpret_cast<const char*>(header);
    bytes.insert(bytes.end(), data, data + header->nlmsg_len);
  };
  uint32_t begin = ++sequence_;
  NetlinkMessage head = boundary(NFNL_MSG_BATCH_BEGIN);
  append(head, begin, 0);
  uint32_t first = sequence_ + 1;
  for (size_t i = 0; i < messages.size(); i++) {
    // The kernel answers errors unasked; an acknowledgement of the last message alone tells of success without a
    // flood that would overrun the receive buffer.
    uint16_t ack = i + 1 == messages.size() ? NLM_F_ACK : 0;
    append(messages[i], ++sequence_, static_cast<uint16_t>(NLM_F_REQUEST | ack));
  }
  uint32_t last = sequence_;
  NetlinkMessage tail = boundary(NFNL_MSG_BATCH_END);
  append(tail, ++sequence_, 0);

  int room = static_cast<int>(bytes.size()) * 2 + 65536;
  setsockopt(mnl_socket_get_fd(socket_), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  setsockopt(mnl_socket_get_fd(socket_), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  if (mnl_socket_sendto(socket_, bytes.data(), bytes.size()) < 0) throw_errno("send", "netlink");

  std::vector<char> buffer(kReadBuffer);
  int error = 0;
  for (;;) {
    ssize_t size = mnl_socket_recvfrom(socket_, buffer.data(), buffer.size());
    if (size < 0) {
      if (errno == EINTR) continue;
      throw_errno("recv", "netlink");
    }
    int left = static_cast<int>(size);
    for (const auto* header = reinterpret_cast<const nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(header, left);
         header = mnl_nlmsg_next(header, &left)) {
      if (header->nlmsg_type != NLMSG_ERROR || header->nlmsg_seq < begin || header->nlmsg_seq > sequence_) continue;
      int err = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header))->error;
      if (err != 0 && error == 0) {
        error = err;
        read_reason(header);
        if (header->nlmsg_seq >= first && header->nlmsg_seq <= last)
          *failed = static_cast<int>(header->nlmsg_seq - first);
      }
      // A failed commit is answered under the first sequence number of the batch and nothing follows.
      if (header->nlmsg_seq == last || header->nlmsg_seq == begin) return error;
    }
  }
}

}  // namespace gantry
