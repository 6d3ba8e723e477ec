#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace gantry::nft {

enum class Field {
  iifname,
  oifname,
  protocol,
  saddr,
  daddr,
  sport,
  dport,
  icmp_type,
  mark,
  ct_state,
  ct_status,
  fib_daddr_type
};
enum class Type { ifname, ipv4, protocol, port, ipv6 };
/// Which packets a table sees; the numbers are the kernel's (NFPROTO_*).
enum class Family : uint8_t { ip = 2, ip6 = 10 };

/// Fails with InvalidInput on a word that is none.
Field parse_field(const std::string& word);
Type parse_type(const std::string& word);

struct Verdict {
  /// accept, drop, return, jump, goto
  std::string verdict;
  std::string chain;
};

/// One part of a rule; which members count depends on `type` (see core/contracts/host-net.ts, whose words these are).
struct Expression {
  std::string type;
  std::vector<Field> fields;
  std::string value;
  bool negated = false;
  std::string set;
  std::string address;
  uint16_t port = 0;
  Verdict verdict;
};

struct Rule {
  std::string comment;
  std::vector<Expression> expressions;
};

struct Chain {
  std::string name;
  /// '' for a chain without a hook.
  std::string type;
  std::string hook;
  int priority = 0;
  std::vector<Rule> rules;
};

struct Element {
  std::vector<std::string> key;
  std::vector<std::string> data;
  std::optional<Verdict> verdict;
};

struct Set {
  std::string name;
  std::vector<Type> key;
  std::vector<Type> data;
  bool verdict_map = false;
  bool interval = false;
  std::vector<Element> elements;
};

struct Table {
  std::string name;
  Family family = Family::ip;
  std::vector<Set> sets;
  std::vector<Chain> chains;
};

struct Command {
  enum class Op { add_table, replace_table, delete_table, add_elements, delete_elements } op;
  /// Only name and family for all but `add_table` and `replace_table`.
  Table table;
  /// Of the element commands.
  Set set;
};

/// Applies all commands in one kernel transaction, in the calling thread's namespace.
void apply(const std::vector<Command>& commands);

struct Listing {
  std::map<std::string, std::vector<std::string>> sets;
  std::map<std::string, std::vector<std::string>> chains;
};

/// What the kernel has of a table; nothing when there is none of that name and family.
std::optional<Listing> list(const std::string& table, Family family);

/// A chain that the kernel calls, of whoever made it.
struct BaseChain {
  /// `ip`, `ip6` or `inet`; others are left out.
  std::string family;
  std::string table;
  std::string name;
  std::string hook;
  int priority = 0;
  /// What happens to a packet that no rule decides about.
  bool drops = false;
};
std::vector<BaseChain> base_chains();

}  // namespace gantry::nft
