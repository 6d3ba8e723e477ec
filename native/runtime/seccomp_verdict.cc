#include "seccomp_verdict.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <cstddef>
#include <cstring>

namespace gantry::runtime {
namespace {

constexpr std::uint32_t native_architecture() {
#if defined(__x86_64__)
  return AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
  return AUDIT_ARCH_AARCH64;
#elif defined(__riscv)
  return AUDIT_ARCH_RISCV64;
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
  return AUDIT_ARCH_PPC64LE;
#else
#error "which AUDIT_ARCH is this?"
#endif
}

}  // namespace

std::uint32_t verdict(const SeccompFilter& filter, long call, const std::array<std::uint64_t, 6>& arguments) {
  if (filter.program.empty()) return SECCOMP_RET_ALLOW;
  struct seccomp_data data = {};
  data.nr = static_cast<int>(call);
  data.arch = native_architecture();
  for (std::size_t i = 0; i < arguments.size(); ++i) data.args[i] = arguments[i];

  std::uint32_t a = 0, x = 0, memory[BPF_MEMWORDS] = {};
  const auto& code = filter.program;
  // Jumps lead forward only, so every instruction is met at most once.
  for (std::size_t at = 0; at < code.size(); ++at) {
    const sock_filter& op = code[at];
    const std::uint32_t operand = BPF_SRC(op.code) == BPF_X ? x : op.k;
    switch (BPF_CLASS(op.code)) {
      case BPF_LD:
      case BPF_LDX: {
        std::uint32_t value = 0;
        if (BPF_MODE(op.code) == BPF_IMM) {
          value = op.k;
        } else if (BPF_MODE(op.code) == BPF_MEM && op.k < BPF_MEMWORDS) {
          value = memory[op.k];
        } else if (BPF_MODE(op.code) == BPF_LEN) {
          value = sizeof data;
        } else if (BPF_MODE(op.code) == BPF_ABS && op.k % 4 == 0 && op.k <= sizeof data - 4) {
          std::memcpy(&value, reinterpret_cast<const char*>(&data) + op.k, sizeof value);
        } else {
          return SECCOMP_RET_KILL_PROCESS;
        }
        (BPF_CLASS(op.code) == BPF_LD ? a : x) = value;
        break;
      }
      case BPF_ST:
      case BPF_STX:
        if (op.k >= BPF_MEMWORDS) return SECCOMP_RET_KILL_PROCESS;
        memory[op.k] = BPF_CLASS(op.code) == BPF_ST ? a : x;
        break;
      case BPF_ALU:
        switch (BPF_OP(op.code)) {
          case BPF_ADD:
            a += operand;
            break;
          case BPF_SUB:
            a -= operand;
            break;
          case BPF_MUL:
            a *= operand;
            break;
          case BPF_DIV:
            // The kernel ends the program with 0, which is to kill the thread.
            if (operand == 0) return SECCOMP_RET_KILL_THREAD;
            a /= operand;
            break;
          case BPF_AND:
            a &= operand;
            break;
          case BPF_OR:
            a |= operand;
            break;
          case BPF_XOR:
            a ^= operand;
            break;
          case BPF_LSH:
            a = operand < 32 ? a << operand : 0;
            break;
          case BPF_RSH:
            a = operand < 32 ? a >> operand : 0;
            break;
          case BPF_NEG:
            a = 0u - a;
            break;
          default:
            return SECCOMP_RET_KILL_PROCESS;
        }
        break;
      case BPF_JMP: {
        bool taken = false;
        switch (BPF_OP(op.code)) {
          case BPF_JA:
            // The loop adds the one that every jump is counted from.
            at += op.k;
            continue;
          case BPF_JEQ:
            taken = a == operand;
            break;
          case BPF_JGT:
            taken = a > operand;
            break;
          case BPF_JGE:
            taken = a >= operand;
            break;
          case BPF_JSET:
            taken = (a & operand) != 0;
            break;
          default:
            return SECCOMP_RET_KILL_PROCESS;
        }
        at += taken ? op.jt : op.jf;
        break;
      }
      case BPF_RET:
        return BPF_RVAL(op.code) == BPF_A ? a : op.k;
      case BPF_MISC:
        if (BPF_MISCOP(op.code) == BPF_TAX) {
          x = a;
        } else {
          a = x;
        }
        break;
      default:
        return SECCOMP_RET_KILL_PROCESS;
    }
  }
  return SECCOMP_RET_KILL_PROCESS;
}

bool allows(const SeccompFilter& filter, long call, const std::array<std::uint64_t, 6>& arguments) {
  std::uint32_t action = verdict(filter, call, arguments) & SECCOMP_RET_ACTION_FULL;
  return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}

}  // namespace gantry::runtime
