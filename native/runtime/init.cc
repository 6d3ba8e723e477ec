#include "init.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "console.h"
#include "credentials.h"
#include "gantry/error.h"
#include "hooks.h"
#include "init_stages.h"
#include "mount_fd.h"
#include "namespaces.h"
#include "net_devices.h"
#include "program.h"
#include "rootfs.h"
#include "state.h"
#include "sysctl.h"

namespace gantry::runtime {
namespace {

void set_host_name(const Spec& spec) {
  if (!spec.hostname.empty() && ::sethostname(spec.hostname.data(), spec.hostname.size()) != 0) {
    throw_errno("set hostname", spec.hostname);
  }
  if (!spec.domainname.empty() && ::setdomainname(spec.domainname.data(), spec.domainname.size()) != 0) {
    throw_errno("set domainname", spec.domainname);
  }
}

/// The procfs through which the fifo will be opened: one of this container's pid namespace, so that the host's is not
/// in our descriptor table while we wait where a container may look.
ProcHandle own_proc(const Plan& plan) {
  MountOptions options;
  try {
    return ProcHandle(new_mount("proc", "proc", options, "/proc"));
  } catch (const SysError&) {
    // A user namespace may mount procfs only where nothing of an existing one is hidden.
    UniqueFd copy(::fcntl(plan.proc.get(), F_DUPFD_CLOEXEC, 3));
    return ProcHandle(std::move(copy));
  }
}

/// Mounts, devices, hooks and the change of root; returns the procfs that is used afterwards.
ProcHandle furnish(Plan& plan, Rootfs& rootfs) {
  rootfs.mount_all(plan);
  plan.host_mounts.clear();
  rootfs.make_devices(plan);
  if (!plan.spec.hooks.prestart.empty() || !plan.spec.hooks.create_runtime.empty()) {
    plan.sync.ask(SyncType::kRuntimeHooks);
  }
  // Those hooks run in the container, so the process has the number that it has there.
  if (auto at = plan.hook_state.find("\"pid\":0"); at != std::string::npos) {
    plan.hook_state.replace(at, 7, "\"pid\":" + std::to_string(::getpid()));
  }
  run_hooks(plan.spec.hooks.create_container, "createContainer", plan.hook_state);
  set_host_name(plan.spec);
  write_sysctls(plan);
  rootfs.mask_and_protect(plan);
  if (plan.process.terminal) set_up_console(rootfs.fd(), plan, {.bind = true, .control = true});
  ProcHandle proc = plan.fifo ? own_proc(plan) : ProcHandle(UniqueFd(::fcntl(plan.proc.get(), F_DUPFD_CLOEXEC, 3)));
  rootfs.pivot(plan);
  rootfs.finish(plan);
  return proc;
}

void wait_for_start(Plan& plan, const ProcHandle& proc) {
  UniqueFd fifo = proc.reopen(plan.fifo.get(), O_WRONLY);
  if (::write(fifo.get(), "0", 1) != 1) throw_errno("write", "exec.fifo");
}

}  // namespace

void container_init(Plan& plan) {
  guarded(plan, [&] {
    become_unreadable(plan, plan.new_user_namespace ? Dumpable::kUntilMapped : Dumpable::kNever);
    join_cgroups(plan);
    join_namespaces(plan);
    if (plan.new_user_namespace) {
      plan.sync.ask(SyncType::kMapIds);
      become_mapped_root();
    }
    make_late_namespaces(plan);
    forbid_tracing();
    leave_session();
    if (plan.new_network_namespace) bring_up_loopback();

    ::umask(0);
    Rootfs rootfs = Rootfs::prepare(plan);
    if (!plan.new_mount_namespace) plan.sync.send(SyncType::kRootMade);
    ProcHandle proc = furnish(plan, rootfs);

    std::string program = take_identity(plan);
    plan.proc.close();
    auto argv = pointers(plan.process.args), env = pointers(plan.process.env);
    plan.console_socket.reset();
    default_signals();
    plan.sync.send(SyncType::kReady);
    if (plan.wait_for_go) {
      if (plan.sync.receive().type != SyncType::kGo) ::_exit(1);
    }
    if (plan.fifo) {
      plan.sync.close();
      wait_for_start(plan, proc);
    }
    run_hooks(plan.spec.hooks.start_container, "startContainer", plan.hook_state);
    execute(plan, program, argv, env);
  });
}

}  // namespace gantry::runtime
