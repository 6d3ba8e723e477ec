#pragma once

#include "plan.h"

namespace gantry::runtime {

/// The steps by which a process takes on who it will be, in the order of init_stages.cc.

/// A session keyring of the container's own, so that keys of whoever started us are out of reach.
void set_up_keyring(const Plan& plan);
/// Sets those that are not as wanted already.
void set_rlimits(const std::vector<Rlimit>& limits);
/// How the kernel schedules its disk accesses.
void set_io_priority(const Process& process);
/// How the kernel schedules process `pid`, 0 for this one.
void set_scheduler(const Process& process, pid_t pid);
/// The processors that this process may run on; does nothing for none.
void set_affinity(const std::vector<unsigned>& processors);
/// On which memory nodes its pages are put.
void set_memory_policy(const MemoryPolicy& policy);
/// AppArmor profile or SELinux label for the next exec; throws when the kernel has none.
void set_exec_label(const Plan& plan);
/// Throws when a label is asked for that this kernel cannot give.
void check_labels(const Process& process);
/// A program that is not root must be able to open /dev/stdout: its streams become its own.
void own_standard_streams(uid_t uid);
/// Groups, user, working directory and capabilities.
void change_user(const Plan& plan);
/// The process's oom_score_adj, from outside, unless it has that value already: lowering it takes a capability that we
/// may lack, which is forgiven where we lack all rights.
void set_oom_score_adj(const Plan& plan, pid_t pid);

}  // namespace gantry::runtime
