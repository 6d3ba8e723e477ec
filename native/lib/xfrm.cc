#include "gantry/xfrm.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/xfrm.h>
#include <netinet/in.h>

#include <cstring>

#include "gantry/address.h"
#include "gantry/error.h"

namespace gantry {

namespace {

constexpr char kAlgorithm[] = "rfc4106(gcm(aes))";
constexpr size_t kKeySize = 36;
constexpr unsigned kProofBits = 128;
/// Packets that several processors send overtake each other.
constexpr uint32_t kReplayWindow = 512;

void set_address(xfrm_address_t& to, const IpAddress& from) { std::memcpy(&to, from.bytes, from.size()); }

void set_unlimited(xfrm_lifetime_cfg& lifetime) {
  lifetime.soft_byte_limit = XFRM_INF;
  lifetime.hard_byte_limit = XFRM_INF;
  lifetime.soft_packet_limit = XFRM_INF;
  lifetime.hard_packet_limit = XFRM_INF;
}

xfrm_selector selector_of(const XfrmPolicy& policy) {
  IpAddress source = parse_address(policy.source);
  IpAddress destination = parse_address(policy.destination);
  if (source.family != destination.family) throw InvalidInput("addresses of two families: " + policy.source);
  xfrm_selector selector{};
  set_address(selector.saddr, source);
  set_address(selector.daddr, destination);
  selector.prefixlen_s = source.prefix;
  selector.prefixlen_d = destination.prefix;
  selector.family = static_cast<uint16_t>(source.family);
  selector.proto = IPPROTO_UDP;
  selector.dport = htons(policy.port);
  selector.dport_mask = 0xffff;
  return selector;
}

uint8_t direction_of(const XfrmPolicy& policy) { return policy.out ? XFRM_POLICY_OUT : XFRM_POLICY_IN; }

std::string cidr(int family, const xfrm_address_t& address, uint8_t prefix) {
  return format_address(family, &address) + "/" + std::to_string(prefix);
}

}  // namespace

Xfrm::Xfrm() : socket_(NETLINK_XFRM) {}

void Xfrm::check(int err, const char* operation, const std::string& subject) {
  if (err == 0) return;
  throw SysError(err, operation, socket_.reason().empty() ? subject : subject + " (" + socket_.reason() + ")");
}

void Xfrm::add_state(const XfrmState& state) {
  if (state.key.size() != kKeySize) throw InvalidInput("a key has 36 bytes");
  IpAddress source = parse_address(state.source);
  IpAddress destination = parse_address(state.destination);
  NetlinkMessage message(XFRM_MSG_NEWSA, NLM_F_CREATE | NLM_F_EXCL);
  auto* info = message.header<xfrm_usersa_info>();
  set_address(info->saddr, source);
  set_address(info->id.daddr, destination);
  info->id.spi = htonl(state.spi);
  info->id.proto = IPPROTO_ESP;
  info->family = static_cast<uint16_t>(source.family);
  info->mode = XFRM_MODE_TRANSPORT;
  info->reqid = state.reqid;
  // 64 bits of sequence numbers: 32 are used up in an hour on a fast wire, and then nothing is sent any more.
  info->flags = XFRM_STATE_ESN;
  set_unlimited(info->lft);

  std::vector<uint8_t> algorithm(sizeof(xfrm_algo_aead) + kKeySize);
  auto* aead = reinterpret_cast<xfrm_algo_aead*>(algorithm.data());
  std::memcpy(aead->alg_name, kAlgorithm, sizeof kAlgorithm);
  aead->alg_key_len = kKeySize * 8;
  aead->alg_icv_len = kProofBits;
  std::memcpy(aead->alg_key, state.key.data(), kKeySize);
  message.put(XFRMA_ALG_AEAD, algorithm.data(), algorithm.size());

  std::vector<uint8_t> window(sizeof(xfrm_replay_state_esn) + kReplayWindow / 8);
  auto* replay = reinterpret_cast<xfrm_replay_state_esn*>(window.data());
  replay->bmp_len = kReplayWindow / 32;
  replay->replay_window = kReplayWindow;
  message.put(XFRMA_REPLAY_ESN_VAL, window.data(), window.size());
  check(socket_.request(message), "add encryption", state.source + " to " + state.destination);
}

void Xfrm::delete_state(const XfrmState& state) {
  IpAddress destination = parse_address(state.destination);
  NetlinkMessage message(XFRM_MSG_DELSA, 0);
  auto* id = message.header<xfrm_usersa_id>();
  set_address(id->daddr, destination);
  id->spi = htonl(state.spi);
  id->family = static_cast<uint16_t>(destination.family);
  id->proto = IPPROTO_ESP;
  int err = socket_.request(message);
  if (err != ESRCH) check(err, "delete encryption", state.destination);
}

void Xfrm::put_policy(const XfrmPolicy& policy) {
  NetlinkMessage message(XFRM_MSG_UPDPOLICY, 0);
  auto* info = message.header<xfrm_userpolicy_info>();
  info->sel = selector_of(policy);
  set_unlimited(info->lft);
  info->priority = policy.priority;
  info->dir = direction_of(policy);
  info->action = policy.block ? XFRM_POLICY_BLOCK : XFRM_POLICY_ALLOW;
  info->share = XFRM_SHARE_ANY;
  if (!policy.block) {
    IpAddress source = parse_address(policy.source);
    xfrm_user_tmpl tmpl{};
    set_address(tmpl.saddr, source);
    set_address(tmpl.id.daddr, parse_address(policy.destination));
    tmpl.id.spi = htonl(policy.spi);
    tmpl.id.proto = IPPROTO_ESP;
    tmpl.family = static_cast<uint16_t>(source.family);
    tmpl.reqid = policy.reqid;
    tmpl.mode = XFRM_MODE_TRANSPORT;
    tmpl.share = XFRM_SHARE_ANY;
    tmpl.aalgos = tmpl.ealgos = tmpl.calgos = UINT32_MAX;
    message.put(XFRMA_TMPL, &tmpl, sizeof tmpl);
  }
  check(socket_.request(message), "put encryption policy", policy.source + " to " + policy.destination);
}

void Xfrm::delete_policy(const XfrmPolicy& policy) {
  NetlinkMessage message(XFRM_MSG_DELPOLICY, 0);
  auto* id = message.header<xfrm_userpolicy_id>();
  id->sel = selector_of(policy);
  id->dir = direction_of(policy);
  int err = socket_.request(message);
  if (err != ENOENT) check(err, "delete encryption policy", policy.source + " to " + policy.destination);
}

std::vector<XfrmState> Xfrm::states(uint32_t reqid) {
  std::vector<XfrmState> found;
  socket_.dump([] { return NetlinkMessage(XFRM_MSG_GETSA, 0); },
               [&](const nlmsghdr* header) {
                 const auto* info = static_cast<const xfrm_usersa_info*>(mnl_nlmsg_get_payload(header));
                 if (info->reqid != reqid || info->id.proto != IPPROTO_ESP) return;
                 found.push_back({format_address(info->family, &info->saddr),
                                  format_address(info->family, &info->id.daddr), ntohl(info->id.spi), info->reqid, ""});
               },
               [&] { found.clear(); });
  return found;
}

std::vector<XfrmPolicy> Xfrm::policies(uint16_t port) {
  std::vector<XfrmPolicy> found;
  socket_.dump([] { return NetlinkMessage(XFRM_MSG_GETPOLICY, 0); },
               [&](const nlmsghdr* header) {
                 const auto* info = static_cast<const xfrm_userpolicy_info*>(mnl_nlmsg_get_payload(header));
                 const xfrm_selector& sel = info->sel;
                 if (sel.proto != IPPROTO_UDP || ntohs(sel.dport) != port || info->dir > XFRM_POLICY_OUT) return;
                 XfrmPolicy policy;
                 policy.out = info->dir == XFRM_POLICY_OUT;
                 policy.source = cidr(sel.family, sel.saddr, sel.prefixlen_s);
                 policy.destination = cidr(sel.family, sel.daddr, sel.prefixlen_d);
                 policy.port = port;
                 policy.priority = info->priority;
                 policy.block = info->action == XFRM_POLICY_BLOCK;
                 for (const nlattr* attribute : attributes(header, sizeof *info)) {
                   if (mnl_attr_get_type(attribute) != XFRMA_TMPL ||
                       mnl_attr_get_payload_len(attribute) < sizeof(xfrm_user_tmpl))
                     continue;
                   const auto* tmpl = static_cast<const xfrm_user_tmpl*>(mnl_attr_get_payload(attribute));
                   policy.reqid = tmpl->reqid;
                   policy.spi = ntohl(tmpl->id.spi);
                 }
                 found.push_back(std::move(policy));
               },
               [&] { found.clear(); });
  return found;
}

}  // namespace gantry
