#pragma once

#include <string>
#include <vector>

#include "gantry/netlink.h"
#include "gantry/nft.h"
#include "nft_values.h"

/// The netlink messages of nf_tables, part by part.
namespace gantry::nft {

NetlinkMessage make_message(uint16_t type, uint16_t flags, Family family);
void put_data(NetlinkMessage& message, uint16_t attribute, const Bytes& value);
void put_verdict(NetlinkMessage& message, uint16_t attribute, const Verdict& verdict);

/// Of a table, all of these use the name and the family.
NetlinkMessage table_message(uint16_t type, uint16_t flags, const Table& table);
/// `id` names the set to the rules of the same batch.
NetlinkMessage set_message(const Table& table, const Set& set, uint32_t id);
/// Adds or deletes the set's elements, in as many messages as they need.
void append_elements(std::vector<NetlinkMessage>& messages, const Table& table, const Set& set, bool add);
NetlinkMessage rule_message(const Table& table, const std::string& chain, const Rule& rule);

/// Where userspace keeps a rule's comment in the rule's user data: NFTNL_UDATA_RULE_COMMENT of the nft program.
constexpr uint8_t kCommentTag = 0;

}  // namespace gantry::nft
