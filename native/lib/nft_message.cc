#include "nft_message.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <utility>

#include "gantry/error.h"

namespace gantry::nft {

namespace {

constexpr uint16_t message_type(uint16_t type) { return static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type); }

}  // namespace

NetlinkMessage make_message(uint16_t type, uint16_t flags, Family family) {
  NetlinkMessage message(message_type(type), flags);
  auto* header = message.header<nfgenmsg>();
  header->nfgen_family = static_cast<uint8_t>(family);
  header->version = NFNETLINK_V0;
  return message;
}

void put_data(NetlinkMessage& message, uint16_t attribute, const Bytes& value) {
  message.nest(attribute, [&] { message.put(NFTA_DATA_VALUE, value.data(), value.size()); });
}

void put_verdict(NetlinkMessage& message, uint16_t attribute, const Verdict& verdict) {
  static const std::vector<std::pair<const char*, int>> kCodes{
      {"accept", NF_ACCEPT}, {"drop", NF_DROP}, {"return", NFT_RETURN}, {"jump", NFT_JUMP}, {"goto", NFT_GOTO}};
  auto found = std::find_if(kCodes.begin(), kCodes.end(), [&](const auto& e) { return verdict.verdict == e.first; });
  if (found == kCodes.end()) throw InvalidInput("unknown verdict: " + verdict.verdict);
  message.nest(attribute, [&] {
    message.nest(NFTA_DATA_VERDICT, [&] {
      message.put_be32(NFTA_VERDICT_CODE, static_cast<uint32_t>(found->second));
      if (!verdict.chain.empty()) message.put_string(NFTA_VERDICT_CHAIN, verdict.chain);
    });
  });
}

NetlinkMessage table_message(uint16_t type, uint16_t flags, const Table& table) {
  NetlinkMessage message = make_message(type, flags, table.family);
  message.put_string(NFTA_TABLE_NAME, table.name);
  return message;
}

}  // namespace gantry::nft
