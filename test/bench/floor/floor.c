// The floor: runs a program with the isolation that Docker gives by default, and makes only the system calls that this
// takes. No configuration is read, nothing is checked or recorded: what a runtime needs beyond this is its own.
//
//   floor ROOTFS CGROUP FILTER [LOWER UPPER WORK] -- PROGRAM [ARG...]
//
// CGROUP is a path in every hierarchy; FILTER a file of BPF instructions for seccomp. With LOWER, UPPER and WORK an
// overlay is mounted on ROOTFS first and unmounted afterwards, as an engine does it.
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HIERARCHIES 16

static const char* const kHierarchies[] = {"cpu",        "cpuacct", "cpuset", "memory",  "devices",
                                           "freezer",    "blkio",   "pids",   "net_cls", "net_prio",
                                           "perf_event", "hugetlb", "rdma",   "misc",    "systemd"};

struct cgroups {
  int count;
  int unified;  // the directory on a host with cgroup v2 alone, or -1
  char path[HIERARCHIES][512];
  const char* name[HIERARCHIES];
  int tasks[HIERARCHIES];
};

void fail(const char* what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  _exit(1);
}

static void must(long result, const char* what) {
  if (result < 0) fail(what);
}

static void write_file(int dir, const char* path, const char* text) {
  int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
  must(fd, path);
  must(write(fd, text, strlen(text)), path);
  close(fd);
}

static void copy_file(const char* from, const char* to) {
  char text[256];
  int fd = open(from, O_RDONLY | O_CLOEXEC);
  must(fd, from);
  ssize_t n = read(fd, text, sizeof text - 1);
  must(n, from);
  close(fd);
  text[n] = 0;
  write_file(AT_FDCWD, to, text);
}

/// The devices that a container may use; the rest is denied.
static void limit_devices(const char* dir) {
  static const char* const kAllowed[] = {"c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",
                                         "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm"};
  int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  must(fd, dir);
  write_file(fd, "devices.deny", "a");
  int allow = openat(fd, "devices.allow", O_WRONLY | O_CLOEXEC);
  must(allow, "devices.allow");
  for (size_t i = 0; i < COUNT(kAllowed); ++i) must(write(allow, kAllowed[i], strlen(kAllowed[i])), kAllowed[i]);
  close(allow);
  close(fd);
}

static void make_cgroups(struct cgroups* cgroups, const char* path) {
  char file[600];
  cgroups->count = 0;
  cgroups->unified = -1;
  if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0) {
    snprintf(cgroups->path[0], sizeof cgroups->path[0], "/sys/fs/cgroup%s", path);
    must(mkdir(cgroups->path[0], 0755), cgroups->path[0]);
    cgroups->count = 1;
    cgroups->unified = open(cgroups->path[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(cgroups->unified, cgroups->path[0]);
    attach_device_program(cgroups->unified);
    return;
  }
  for (size_t i = 0; i < COUNT(kHierarchies); ++i) {
    char* dir = cgroups->path[cgroups->count];
    snprintf(dir, sizeof cgroups->path[0], "/sys/fs/cgroup/%s%s", kHierarchies[i], path);
    // Not every host has every hierarchy.
    if (mkdir(dir, 0755) != 0) continue;
    if (strcmp(kHierarchies[i], "devices") == 0) limit_devices(dir);
    if (strcmp(kHierarchies[i], "cpuset") == 0) {
      // Its parent has been given its own by whoever made it.
      static const char* const kFiles[] = {"cpuset.cpus", "cpuset.mems"};
      for (size_t k = 0; k < COUNT(kFiles); ++k) {
        char own[600];
        snprintf(file, sizeof file, "%s/../%s", dir, kFiles[k]);
        snprintf(own, sizeof own, "%s/%s", dir, kFiles[k]);
        copy_file(file, own);
      }
    }
    snprintf(file, sizeof file, "%s/tasks", dir);
    cgroups->tasks[cgroups->count] = open(file, O_WRONLY | O_CLOEXEC);
    must(cgroups->tasks[cgroups->count], file);
    cgroups->name[cgroups->count++] = kHierarchies[i];
  }
}

static void remove_cgroups(const struct cgroups* cgroups) {
  for (int i = 0; i < cgroups->count; ++i) must(rmdir(cgroups->path[i]), cgroups->path[i]);
}

static int new_mount(const char* type, uint64_t attributes, const char* const* options) {
  int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
  must(fs, type);
  for (; options && *options; options += 2)
    must(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, options[0], options[1], 0), options[0]);
  must(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), type);
  int fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
  must(fd, type);
  close(fs);
  return fd;
}

static void attach(int mount, int dir, const char* target) {
  must(syscall(SYS_move_mount, mount, "", dir, target, MOVE_MOUNT_F_EMPTY_PATH), target);
}

static void set_attributes(int fd, uint64_t set, uint64_t propagation, unsigned flags) {
  struct mount_attr attributes = {.attr_set = set, .propagation = propagation};
  must(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | flags, &attributes, sizeof attributes), "mount_setattr");
}

static int clone_tree(int dir, const char* path, unsigned flags) {
  return (int)syscall(SYS_open_tree, dir, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
}

static void place(int root, const char* type, const char* target, uint64_t attributes, const char* const* options) {
  int mount = new_mount(type, attributes, options);
  attach(mount, root, target);
  close(mount);
}

/// The file systems of a container.
static void mount_all(int root, const struct cgroups* cgroups) {
  static const char* const kDev[] = {"mode", "755", "size", "65536k", NULL};
  static const char* const kPts[] = {"ptmxmode", "0666", "mode", "0620", "gid", "5", NULL};
  static const char* const kShm[] = {"mode", "1777", "size", "67108864", NULL};
  static const char* const kGroups[] = {"mode", "755", NULL};
  const uint64_t safe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  place(root, "proc", "proc", safe, NULL);
  place(root, "tmpfs", "dev", MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME, kDev);
  must(mkdirat(root, "dev/pts", 0755), "mkdir dev/pts");
  must(mkdirat(root, "dev/shm", 0755), "mkdir dev/shm");
  must(mkdirat(root, "dev/mqueue", 0755), "mkdir dev/mqueue");
  place(root, "devpts", "dev/pts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, kPts);
  place(root, "sysfs", "sys", safe | MOUNT_ATTR_RDONLY, NULL);
  if (cgroups->unified >= 0) {
    place(root, "cgroup2", "sys/fs/cgroup", safe | MOUNT_ATTR_RDONLY, NULL);
  } else {
    // Each hierarchy shows the container's own part of it.
    int groups = new_mount("tmpfs", safe, kGroups);
    for (int i = 0; i < cgroups->count; ++i) {
      must(mkdirat(groups, cgroups->name[i], 0755), cgroups->name[i]);
    }
    attach(groups, root, "sys/fs/cgroup");
    for (int i = 0; i < cgroups->count; ++i) {
      int tree = clone_tree(AT_FDCWD, cgroups->path[i], 0);
      must(tree, cgroups->path[i]);
      set_attributes(tree, safe | MOUNT_ATTR_RDONLY, 0, 0);
      attach(tree, groups, cgroups->name[i]);
      close(tree);
    }
    set_attributes(groups, MOUNT_ATTR_RDONLY, 0, 0);
    close(groups);
  }
  place(root, "mqueue", "dev/mqueue", safe, NULL);
  place(root, "tmpfs", "dev/shm", safe, kShm);
}

static void make_nodes(int root) {
  static const struct {
    const char* path;
    unsigned major, minor;
  } kNodes[] = {{"dev/null", 1, 3},   {"dev/zero", 1, 5},    {"dev/full", 1, 7},
                {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
  static const char* const kLinks[] = {"/proc/self/fd",   "dev/fd",     "/proc/self/fd/0", "dev/stdin",
                                       "/proc/self/fd/1", "dev/stdout", "/proc/self/fd/2", "dev/stderr",
                                       "pts/ptmx",        "dev/ptmx"};
  umask(0);
  for (size_t i = 0; i < COUNT(kNodes); ++i) {
    must(mknodat(root, kNodes[i].path, S_IFCHR | 0666, makedev(kNodes[i].major, kNodes[i].minor)), kNodes[i].path);
  }
  for (size_t i = 0; i < COUNT(kLinks); i += 2) must(symlinkat(kLinks[i], root, kLinks[i + 1]), kLinks[i + 1]);
}

static void mask_and_protect(int root) {
  static const char* const kReadOnly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
  static const char* const kFiles[] = {"proc/interrupts",  "proc/kcore",      "proc/keys",       "proc/latency_stats",
                                       "proc/sched_debug", "proc/timer_list", "proc/timer_stats"};
  static const char* const kDirectories[] = {"proc/acpi", "proc/asound", "proc/scsi", "sys/devices/virtual/powercap",
                                             "sys/firmware"};
  for (size_t i = 0; i < COUNT(kReadOnly); ++i) {
    int tree = clone_tree(root, kReadOnly[i], AT_RECURSIVE);
    if (tree < 0) continue;
    set_attributes(tree, MOUNT_ATTR_RDONLY, 0, 0);
    attach(tree, root, kReadOnly[i]);
    close(tree);
  }
  int null = clone_tree(root, "dev/null", 0);
  must(null, "dev/null");
  set_attributes(null, MOUNT_ATTR_RDONLY, 0, 0);
  for (size_t i = 0; i < COUNT(kFiles); ++i) {
    int mask = clone_tree(null, "", AT_EMPTY_PATH);
    // What the kernel does not have needs no mask.
    if (syscall(SYS_move_mount, mask, "", root, kFiles[i], MOVE_MOUNT_F_EMPTY_PATH) < 0 && errno != ENOENT)
      fail(kFiles[i]);
    close(mask);
  }
  int empty = new_mount("tmpfs", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, NULL);
  for (size_t i = 0; i < COUNT(kDirectories); ++i) {
    int mask = clone_tree(empty, "", AT_EMPTY_PATH);
    if (syscall(SYS_move_mount, mask, "", root, kDirectories[i], MOVE_MOUNT_F_EMPTY_PATH) < 0 && errno != ENOENT)
      fail(kDirectories[i]);
    close(mask);
  }
}

static void pivot(int root) {
  must(fchdir(root), "chdir");
  int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  must(old, "/");
  must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
  must(syscall(SYS_umount2, ".", 2 /* MNT_DETACH */), "unmount the old root");
  must(chdir("/"), "chdir");
}

static void drop_privileges(void) {
  static const int kKept[] = {
      CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FSETID,  CAP_FOWNER,           CAP_MKNOD,      CAP_NET_RAW, CAP_SETGID,
      CAP_SETUID, CAP_SETFCAP,      CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT, CAP_KILL,    CAP_AUDIT_WRITE};
  uint64_t kept = 0;
  for (size_t i = 0; i < COUNT(kKept); ++i) kept |= UINT64_C(1) << kKept[i];
  for (int i = 0; i <= CAP_LAST_CAP; ++i) {
    if (!(kept >> i & 1)) must(prctl(PR_CAPBSET_DROP, i, 0, 0, 0), "drop a capability");
  }
  gid_t root_group = 0;
  must(syscall(SYS_setgroups, 1, &root_group), "setgroups");
  must(syscall(SYS_setresgid, 0, 0, 0), "setresgid");
  must(syscall(SYS_setresuid, 0, 0, 0), "setresuid");
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{(uint32_t)kept, (uint32_t)kept, 0},
                                           {(uint32_t)(kept >> 32), (uint32_t)(kept >> 32), 0}};
  must(syscall(SYS_capset, &header, data), "capset");
}

static struct sock_fprog read_filter(const char* path) {
  static struct sock_filter instructions[4096];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  must(fd, path);
  ssize_t n = read(fd, instructions, sizeof instructions);
  must(n, path);
  close(fd);
  return (struct sock_fprog){.len = (unsigned short)((size_t)n / sizeof instructions[0]), .filter = instructions};
}

static void loopback_up(void) {
  struct ifreq request = {0};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  must(socket_fd, "socket");
  must(ioctl(socket_fd, SIOCSIFFLAGS, &request), "bring up the loopback interface");
  close(socket_fd);
}

static _Noreturn void contain(struct cgroups* cgroups, const char* rootfs, const char* filter, char** program) {
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  for (int i = 0; cgroups->unified < 0 && i < cgroups->count; ++i)
    must(write(cgroups->tasks[i], "0", 1), cgroups->path[i]);
  if (cgroups->unified >= 0) must(syscall(SYS_unshare, CLONE_NEWCGROUP), "unshare the cgroup namespace");
  must(setsid(), "setsid");
  loopback_up();
  int top = open("/", O_PATH | O_CLOEXEC);
  must(top, "/");
  set_attributes(top, 0, 1 << 18 /* MS_PRIVATE */, AT_RECURSIVE);
  close(top);
  int target = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
  must(target, rootfs);
  int root = clone_tree(target, "", AT_EMPTY_PATH | AT_RECURSIVE);
  must(root, rootfs);
  must(syscall(SYS_move_mount, root, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), rootfs);
  mount_all(root, cgroups);
  make_nodes(root);
  must(sethostname("floor", 5), "sethostname");
  write_file(root, "proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
  write_file(root, "proc/sys/net/ipv4/ping_group_range", "0 2147483647");
  mask_and_protect(root);
  struct sock_fprog program_filter = read_filter(filter);
  pivot(root);
  must(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "floor", 0, 0, 0), "join a session keyring");
  umask(022);
  must(syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC), "close_range");
  // Without no_new_privs, which is not Docker's default, it takes a privilege that goes next.
  must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program_filter), "seccomp");
  drop_privileges();
  char* environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=floor",
                         "HOME=/root", NULL};
  execve(program[0], program, environment);
  fail(program[0]);
  _exit(127);
}

int main(int argc, char** argv) {
  int end = 0;
  while (end < argc && strcmp(argv[end], "--") != 0) ++end;
  if ((end != 4 && end != 7) || end + 1 >= argc) {
    fprintf(stderr, "usage: floor ROOTFS CGROUP FILTER [LOWER UPPER WORK] -- PROGRAM [ARG...]\n");
    return 2;
  }
  const char* rootfs = argv[1];
  if (end == 7) {
    const char* const options[] = {"source", "overlay", "lowerdir", argv[4], "upperdir",
                                   argv[5],  "workdir", argv[6],    NULL};
    int overlay = new_mount("overlay", 0, options);
    attach(overlay, AT_FDCWD, rootfs);
    close(overlay);
  }
  static struct cgroups cgroups;
  make_cgroups(&cgroups, argv[2]);
  int pidfd = -1;
  struct clone_args arguments = {
      .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_PIDFD,
      .pidfd = (uintptr_t)&pidfd,
      .exit_signal = SIGCHLD,
  };
  if (cgroups.unified >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = (uint64_t)cgroups.unified;
  }
  pid_t child = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
  must(child, "clone3");
  if (child == 0) contain(&cgroups, rootfs, argv[3], argv + end + 1);
  int status = 0;
  must(waitpid(child, &status, 0), "wait");
  remove_cgroups(&cgroups);
  if (end == 7) must(syscall(SYS_umount2, rootfs, 2 /* MNT_DETACH */), rootfs);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
