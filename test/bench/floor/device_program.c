// The eBPF program that stands for the devices list on cgroup v2.
#include <linux/bpf.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "floor.h"

#define LOAD(to, offset) \
  { BPF_LDX | BPF_MEM | BPF_W, (to), 1, (offset), 0 }
#define JUMP_UNLESS(reg, value, over) \
  { BPF_JMP | BPF_JNE | BPF_K, (reg), 0, (over), (value) }
#define ANSWER(value) \
  {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, (value)}, { BPF_JMP | BPF_EXIT, 0, 0, 0, 0 }

// Registers: 2 type, 3 access, 4 major, 5 minor.
#define ALLOW(major, minor) JUMP_UNLESS(4, major, 3), JUMP_UNLESS(5, minor, 2), ANSWER(1)

void attach_device_program(int cgroup) {
  static const struct bpf_insn kProgram[] = {
      LOAD(2, 0),
      {BPF_ALU | BPF_MOV | BPF_X, 3, 2, 0, 0},
      {BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff},
      {BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16},
      LOAD(4, 4),
      LOAD(5, 8),
      // Anybody may make a node.
      JUMP_UNLESS(3, BPF_DEVCG_ACC_MKNOD, 2),
      ANSWER(1),
      {BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 2, BPF_DEVCG_DEV_CHAR},
      ANSWER(0),
      ALLOW(1, 3),
      ALLOW(1, 5),
      ALLOW(1, 7),
      ALLOW(1, 8),
      ALLOW(1, 9),
      ALLOW(5, 0),
      ALLOW(5, 2),
      JUMP_UNLESS(4, 136, 2),
      ANSWER(1),
      ANSWER(0),
  };
  union bpf_attr load;
  memset(&load, 0, sizeof load);
  load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  load.insns = (uintptr_t)kProgram;
  load.insn_cnt = sizeof kProgram / sizeof kProgram[0];
  load.license = (uintptr_t) "Apache-2.0";
  int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
  if (program < 0) fail("load the device program");
  union bpf_attr attach;
  memset(&attach, 0, sizeof attach);
  attach.target_fd = (uint32_t)cgroup;
  attach.attach_bpf_fd = (uint32_t)program;
  attach.attach_type = BPF_CGROUP_DEVICE;
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach) < 0) fail("attach the device program");
  close(program);
}
