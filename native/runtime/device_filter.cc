#include "device_filter.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "cgroup.h"
#include "gantry/error.h"
#include "gantry/fd.h"

namespace gantry::runtime {
namespace {

// Registers: what the kernel passes, taken apart once at the beginning.
constexpr std::uint8_t kContext = 1, kType = 2, kAccess = 3, kMajor = 4, kMinor = 5, kScratch = 6, kResult = 0;

bpf_insn insn(int code, std::uint8_t dst, std::uint8_t src, int off, std::int32_t imm) {
  bpf_insn i = {};
  i.code = static_cast<std::uint8_t>(code);
  i.dst_reg = dst & 0xf;
  i.src_reg = src & 0xf;
  i.off = static_cast<std::int16_t>(off);
  i.imm = imm;
  return i;
}

std::int32_t access_bits(const DeviceRule& rule) {
  std::int32_t bits = 0;
  for (char c : rule.access) {
    bits |= c == 'r' ? BPF_DEVCG_ACC_READ : c == 'w' ? BPF_DEVCG_ACC_WRITE : BPF_DEVCG_ACC_MKNOD;
  }
  return bits;
}

constexpr std::int32_t kAllAccess = BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE | BPF_DEVCG_ACC_MKNOD;

/// Instructions that answer with `rule` when it matches and fall through otherwise.
void add_rule(std::vector<bpf_insn>& program, const DeviceRule& rule) {
  std::vector<bpf_insn> body;
  // Jumps out of the rule are given their distance at the end.
  auto mismatch = [&](bpf_insn jump) { body.push_back(jump); };
  if (rule.type != 'a') {
    mismatch(
        insn(BPF_JMP | BPF_JNE | BPF_K, kType, 0, -1, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR));
  }
  std::int32_t bits = access_bits(rule);
  if (bits != kAllAccess) {
    if (rule.allow) {
      // Allowed only if everything asked for is.
      body.push_back(insn(BPF_ALU | BPF_MOV | BPF_X, kScratch, kAccess, 0, 0));
      body.push_back(insn(BPF_ALU | BPF_AND | BPF_K, kScratch, 0, 0, bits));
      mismatch(insn(BPF_JMP | BPF_JNE | BPF_X, kScratch, kAccess, -1, 0));
    } else {
      // Refused if anything asked for is.
      body.push_back(insn(BPF_ALU | BPF_MOV | BPF_X, kScratch, kAccess, 0, 0));
      body.push_back(insn(BPF_ALU | BPF_AND | BPF_K, kScratch, 0, 0, bits));
      mismatch(insn(BPF_JMP | BPF_JEQ | BPF_K, kScratch, 0, -1, 0));
    }
  }
  if (rule.major) mismatch(insn(BPF_JMP | BPF_JNE | BPF_K, kMajor, 0, -1, static_cast<std::int32_t>(*rule.major)));
  if (rule.minor) mismatch(insn(BPF_JMP | BPF_JNE | BPF_K, kMinor, 0, -1, static_cast<std::int32_t>(*rule.minor)));
  body.push_back(insn(BPF_ALU64 | BPF_MOV | BPF_K, kResult, 0, 0, rule.allow ? 1 : 0));
  body.push_back(insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  for (std::size_t i = 0; i < body.size(); ++i) {
    if (body[i].off == -1) body[i].off = static_cast<std::int16_t>(body.size() - i - 1);
  }
  program.insert(program.end(), body.begin(), body.end());
}

int bpf(int command, union bpf_attr& attr) { return static_cast<int>(::syscall(SYS_bpf, command, &attr, sizeof attr)); }

std::uint64_t address(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }

std::vector<std::uint32_t> attached_programs(int cgroup) {
  std::vector<std::uint32_t> ids(64);
  union bpf_attr attr = {};
  attr.query.target_fd = static_cast<std::uint32_t>(cgroup);
  attr.query.attach_type = BPF_CGROUP_DEVICE;
  attr.query.prog_ids = address(ids.data());
  attr.query.prog_cnt = static_cast<std::uint32_t>(ids.size());
  if (bpf(BPF_PROG_QUERY, attr) != 0) throw_errno("query device filters");
  ids.resize(attr.query.prog_cnt);
  return ids;
}

void detach(int cgroup, std::uint32_t id) {
  union bpf_attr get = {};
  get.prog_id = id;
  UniqueFd program(bpf(BPF_PROG_GET_FD_BY_ID, get));
  if (!program) throw_errno("open device filter " + std::to_string(id));
  union bpf_attr attr = {};
  attr.target_fd = static_cast<std::uint32_t>(cgroup);
  attr.attach_bpf_fd = static_cast<std::uint32_t>(program.get());
  attr.attach_type = BPF_CGROUP_DEVICE;
  if (bpf(BPF_PROG_DETACH, attr) != 0) throw_errno("detach device filter " + std::to_string(id));
}

}  // namespace

std::vector<bpf_insn> compile_device_filter(const std::vector<DeviceRule>& rules) {
  std::vector<bpf_insn> program;
  // access_type holds the access in its upper and the type in its lower half.
  program.push_back(insn(BPF_LDX | BPF_MEM | BPF_W, kType, kContext, 0, 0));
  program.push_back(insn(BPF_ALU | BPF_AND | BPF_K, kType, 0, 0, 0xffff));
  program.push_back(insn(BPF_LDX | BPF_MEM | BPF_W, kAccess, kContext, 0, 0));
  program.push_back(insn(BPF_ALU | BPF_RSH | BPF_K, kAccess, 0, 0, 16));
  program.push_back(insn(BPF_LDX | BPF_MEM | BPF_W, kMajor, kContext, 4, 0));
  program.push_back(insn(BPF_LDX | BPF_MEM | BPF_W, kMinor, kContext, 8, 0));

  std::vector<DeviceRule> all = rules;
  const auto& implied = implied_device_rules();
  all.insert(all.end(), implied.begin(), implied.end());
  bool decided = false;
  for (auto rule = all.rbegin(); rule != all.rend() && !decided; ++rule) {
    // A rule about everything answers for all before it; the verifier refuses what can never be reached.
    decided = rule->type == 'a' && access_bits(*rule) == kAllAccess && !rule->major && !rule->minor;
    add_rule(program, *rule);
  }
  if (!decided) {
    program.push_back(insn(BPF_ALU64 | BPF_MOV | BPF_K, kResult, 0, 0, 0));
    program.push_back(insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  }
  return program;
}

void attach_device_filter(int cgroup, const std::vector<DeviceRule>& rules) {
  auto program = compile_device_filter(rules);
  static const char license[] = "Apache";
  union bpf_attr load = {};
  load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  load.insns = address(program.data());
  load.insn_cnt = static_cast<std::uint32_t>(program.size());
  load.license = address(license);
  UniqueFd fd(bpf(BPF_PROG_LOAD, load));
  if (!fd) throw_errno("load device filter");

  auto old = attached_programs(cgroup);
  union bpf_attr attach = {};
  attach.target_fd = static_cast<std::uint32_t>(cgroup);
  attach.attach_bpf_fd = static_cast<std::uint32_t>(fd.get());
  attach.attach_type = BPF_CGROUP_DEVICE;
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  if (bpf(BPF_PROG_ATTACH, attach) != 0) throw_errno("attach device filter");
  // All attached programs must agree, so the old ones go after the new one is in place and nothing is ever unfiltered.
  for (auto id : old) detach(cgroup, id);
}

}  // namespace gantry::runtime
