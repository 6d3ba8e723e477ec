// Where gantry-runtime begins, before the C library has started. A program that enters containers executes itself a
// second time, from a read-only mount of its file (self_exe.h says why); starting the C library takes longer than the
// exec does, above all in a virtual machine, where each of its questions to the processor leaves the guest. So the
// first of the two starts does without: here nothing may be called that is not in this file, and nothing be thrown or
// allocated.
//
// What fails here is not reported. hide_own_file() looks again in its own time, and does what is missing or says why
// not.
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <sys/syscall.h>

#include "self_exe.h"

#if defined(__x86_64__) || defined(__aarch64__)

namespace gantry::runtime {
namespace {

#if defined(__x86_64__)

// The kernel leaves argc on top of an aligned stack, and in rdx what is to be called at exit: nothing in a static
// program.
asm(R"(
.pushsection .text
.globl gantry_runtime_entry
.type gantry_runtime_entry, @function
gantry_runtime_entry:
  xorl %ebp, %ebp
  movq %rsp, %rdi
  call gantry_runtime_before_libc
  xorl %edx, %edx
  jmp _start
.popsection
)");

long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
               : "rcx", "r11", "memory");
  return result;
}

#else

asm(R"(
.pushsection .text
.globl gantry_runtime_entry
.type gantry_runtime_entry, %function
gantry_runtime_entry:
  mov x29, #0
  mov x30, #0
  mov x0, sp
  bl gantry_runtime_before_libc
  mov x0, #0
  b _start
.popsection
)");

long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
}

#endif

template <typename T>
long word(T* pointer) {
  return reinterpret_cast<long>(pointer);
}

bool same(const char* a, const char* b) {
  while (*a && *a == *b) ++a, ++b;
  return *a == *b;
}

/// Whether some word could be a command that enters a container. One too many costs a moment.
bool may_enter(char** words) {
  for (; *words; ++words) {
    for (const char* command : {"create", "run", "exec", "restore"}) {
      if (same(*words, command)) return true;
    }
  }
  return false;
}

/// Writes the variable that says where the program is installed, as hide_own_file sets it. False when that is not
/// known.
bool write_home(char* text, long size) {
  long at = 0;
  for (const char* c = kHomeVariable; *c; ++c) text[at++] = *c;
  text[at++] = '=';
  long length = call(SYS_readlinkat, AT_FDCWD, word("/proc/self/exe"), word(text + at), size - at - 1);
  if (length <= 0 || at + length >= size - 1) return false;
  at += length;
  while (at > 0 && text[at] != '/') --at;
  text[at] = 0;
  return at > 0;
}

}  // namespace

extern "C" __attribute__((used)) void gantry_runtime_before_libc(long* stack) {
  char** argv = reinterpret_cast<char**>(stack + 1);
  char** env = argv + stack[0] + 1;
  if (!may_enter(argv)) return;
  long count = 0;
  for (; env[count]; ++count) {
    // Executed from the mount already.
    const char* name = kHomeVariable;
    const char* entry = env[count];
    while (*name && *name == *entry) ++name, ++entry;
    if (!*name && *entry == '=') return;
  }
  constexpr long kMostVariables = 1024;
  char home[PATH_MAX];
  char* with_home[kMostVariables + 2];
  if (count > kMostVariables || !write_home(home, sizeof home)) return;
  for (long i = 0; i < count; ++i) with_home[i] = env[i];
  with_home[count] = home;
  with_home[count + 1] = nullptr;

  long tree = call(SYS_open_tree, AT_FDCWD, word("/proc/self/exe"), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0) return;
  struct mount_attr attributes = {MOUNT_ATTR_RDONLY, 0, 0, 0};
  if (call(SYS_mount_setattr, tree, word(""), AT_EMPTY_PATH, word(&attributes), sizeof attributes) == 0) {
    call(SYS_execveat, tree, word(""), word(argv), word(with_home), AT_EMPTY_PATH);
  }
  call(SYS_close, tree);
}

}  // namespace gantry::runtime

#endif
