#include "gantry/nft_watch.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "gantry/error.h"
#include "gantry/netlink.h"

namespace gantry::nft {

namespace {

UniqueFd subscribe() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  if (!fd) throw_errno("socket", "netlink");
  // Without an address of its own it would share that of the kernel, which hears nothing of itself.
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) throw_errno("bind", "netlink");
  int group = NFNLGRP_NFTABLES;
  if (::setsockopt(fd.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
    throw_errno("setsockopt NETLINK_ADD_MEMBERSHIP");
  return fd;
}

/// The table that a message is about; every kind has its name in the attribute of number 1.
std::string table_of(const nlmsghdr* header) {
  for (const nlattr* attribute : attributes(header, sizeof(nfgenmsg)))
    if (mnl_attr_get_type(attribute) == NFTA_TABLE_NAME) return mnl_attr_get_str(attribute);
  return {};
}

/// Who made the transaction that this message ends.
uint32_t author_of(const nlmsghdr* header) {
  for (const nlattr* attribute : attributes(header, sizeof(nfgenmsg)))
    if (mnl_attr_get_type(attribute) == NFTA_GEN_PROC_PID) return ntohl(mnl_attr_get_u32(attribute));
  return 0;
}

}  // namespace

Watch::Watch(std::string table, std::function<void()> changed)
    : table_(std::move(table)),
      changed_(std::move(changed)),
      socket_(subscribe()),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      thread_([this] { run(); }) {}

Watch::~Watch() {
  uint64_t one = 1;
  if (::write(stop_.get(), &one, sizeof one) == sizeof one) thread_.join();
}

void Watch::run() {
  std::vector<uint8_t> buffer(256 * 1024);
  const auto self = static_cast<uint32_t>(::getpid());
  bool ours = false;
  for (;;) {
    pollfd waiting[2] = {{socket_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (::poll(waiting, 2, -1) < 0 && errno != EINTR) return;
    if (waiting[1].revents) return;
    ssize_t size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (size < 0) {
      // Messages were lost: anything may have changed.
      if (errno == ENOBUFS) changed_();
      continue;
    }
    int left = static_cast<int>(size);
    for (const auto* header = reinterpret_cast<const nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(header, left);
         header = mnl_nlmsg_next(header, &left)) {
      if (NFNL_SUBSYS_ID(header->nlmsg_type) != NFNL_SUBSYS_NFTABLES) continue;
      if (NFNL_MSG_TYPE(header->nlmsg_type) != NFT_MSG_NEWGEN) {
        if (!ours) ours = table_of(header) == table_;
        continue;
      }
      if (ours && author_of(header) != self) changed_();
      ours = false;
    }
  }
}

}  // namespace gantry::nft
