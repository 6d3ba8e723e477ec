#include "gantry/nft.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cerrno>

#include "gantry/error.h"
#include "nft_message.h"

namespace gantry::nft {

namespace {

uint32_t hook_number(const std::string& hook) {
  static const std::vector<std::pair<const char*, uint32_t>> kHooks{{"prerouting", NF_INET_PRE_ROUTING},
                                                                    {"input", NF_INET_LOCAL_IN},
                                                                    {"forward", NF_INET_FORWARD},
                                                                    {"output", NF_INET_LOCAL_OUT},
                                                                    {"postrouting", NF_INET_POST_ROUTING}};
  for (const auto& [word, number] : kHooks)
    if (hook == word) return number;
  throw InvalidInput("unknown hook: " + hook);
}

NetlinkMessage chain_message(const Table& table, const Chain& chain) {
  NetlinkMessage message = make_message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, table.family);
  message.put_string(NFTA_CHAIN_TABLE, table.name);
  message.put_string(NFTA_CHAIN_NAME, chain.name);
  if (!chain.type.empty()) {
    message.nest(NFTA_CHAIN_HOOK, [&] {
      message.put_be32(NFTA_HOOK_HOOKNUM, hook_number(chain.hook));
      message.put_be32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(chain.priority));
    });
    message.put_be32(NFTA_CHAIN_POLICY, NF_ACCEPT);
    message.put_string(NFTA_CHAIN_TYPE, chain.type);
  }
  return message;
}

void append_table(std::vector<NetlinkMessage>& messages, const Table& table, uint16_t flags, uint32_t* set_id) {
  messages.push_back(table_message(NFT_MSG_NEWTABLE, flags, table));
  for (const Chain& chain : table.chains) messages.push_back(chain_message(table, chain));
  for (const Set& set : table.sets) messages.push_back(set_message(table, set, ++*set_id));
  for (const Set& set : table.sets) append_elements(messages, table, set, true);
  for (const Chain& chain : table.chains)
    for (const Rule& rule : chain.rules) messages.push_back(rule_message(table, chain.name, rule));
}

}  // namespace

void apply(const std::vector<Command>& commands) {
  std::vector<NetlinkMessage> messages;
  uint32_t set_id = 0;
  for (const Command& command : commands) {
    switch (command.op) {
      case Command::Op::add_table:
        append_table(messages, command.table, NLM_F_CREATE | NLM_F_EXCL, &set_id);
        break;
      case Command::Op::replace_table:
      case Command::Op::delete_table:
        // Making it first lets the deletion succeed whether or not it was there.
        messages.push_back(table_message(NFT_MSG_NEWTABLE, NLM_F_CREATE, command.table));
        messages.push_back(table_message(NFT_MSG_DELTABLE, 0, command.table));
        if (command.op == Command::Op::replace_table) append_table(messages, command.table, NLM_F_CREATE, &set_id);
        break;
      case Command::Op::add_elements:
      case Command::Op::delete_elements:
        append_elements(messages, command.table, command.set, command.op == Command::Op::add_elements);
        break;
    }
  }
  // Another program's commit between our messages and ours makes the kernel answer EAGAIN after it undid everything.
  constexpr int kAttempts = 10;
  for (int attempt = 1;; attempt++) {
    NetlinkSocket socket(NETLINK_NETFILTER);
    int failed = -1;
    int err = socket.batch(messages, NFNL_SUBSYS_NFTABLES, &failed);
    if (err == 0) return;
    if (err == EAGAIN && attempt < kAttempts) continue;
    std::string subject = "message " + std::to_string(failed);
    if (!socket.reason().empty()) subject += " (" + socket.reason() + ")";
    throw SysError(err, "nftables", subject);
  }
}

}  // namespace gantry::nft
