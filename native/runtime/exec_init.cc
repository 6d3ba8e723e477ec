#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "console.h"
#include "credentials.h"
#include "gantry/error.h"
#include "handover.h"
#include "init.h"
#include "init_stages.h"
#include "namespaces.h"
#include "program.h"

namespace gantry::runtime {
namespace {

/// From the namespaces to one step before exec; returns the program's path.
std::string enter(Plan& plan) {
  join_cgroups(plan);
  join_namespaces(plan);
  if (plan.new_user_namespace) {
    become_mapped_root();
    // The change of ids made us readable by them again.
    forbid_tracing();
  }
  leave_session();
  if (plan.root && (::fchdir(plan.root.get()) != 0 || ::chroot(".") != 0)) throw_errno("chroot", plan.rootfs);
  UniqueFd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) throw_errno("open", "/");
  // A controlling terminal is for the program's own session.
  if (plan.process.terminal) set_up_console(root.get(), plan, {.bind = false, .control = !plan.handover});
  // After the cgroup, whose cpuset may have taken it back.
  set_affinity(plan.process.affinity_final);
  return take_identity(plan);
}

}  // namespace

void exec_init(Plan& plan) {
  guarded(plan, [&] {
    become_unreadable(plan, Dumpable::kNever);
    std::string program = enter(plan);
    auto argv = pointers(plan.process.args), env = pointers(plan.process.env);
    default_signals();
    plan.sync.send(SyncType::kReady);
    execute(plan, program, argv, env);
  });
}

void exec_between(Plan& plan) {
  guarded(plan, [&] {
    // Before its files are closed to ourselves, where we are not root.
    set_oom_score_adj(plan, ::getpid());
    become_unreadable(plan, Dumpable::kNever);
    if (::setns(plan.join_pid.get(), CLONE_NEWPID) != 0) throw_errno("join pid namespace");
    plan.handover->allow_one_more(plan);
    std::string program = enter(plan);
    default_signals();
    plan.handover->clone_last(plan, program);
  });
}

}  // namespace gantry::runtime
