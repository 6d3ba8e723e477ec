// Runs commands in turn and measures each: wall clock, processor time with all that it waited for, and peak memory. In
// C, because a fork of a large program costs more than what is measured, and because a child's peak memory begins with
// its parent's.
//
//   stopwatch ROUNDS < PLAN
//
// A line of PLAN is `NAME<TAB>COMMAND<TAB>ARG…`, run once a round in the order of the plan; `%` as an argument's last
// character becomes the number of the round. NAME `-` is run and not measured; NAME `orphans` alone waits until every
// process that earlier commands left has ended. Output is one line for each measurement:
// `NAME<TAB>WALL_US<TAB>CPU_US<TAB>PEAK_KB`. The first command that fails ends everything.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kMaxLines = 64, kMaxWords = 24 };

struct step {
  char* words[kMaxWords + 1];
  int count;
};

static char plan[65536];
static FILE* results;

static long long microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static long long of(struct timeval time) { return time.tv_sec * 1000000LL + time.tv_usec; }

static int read_plan(struct step* steps) {
  size_t size = 0;
  for (ssize_t n; (n = read(0, plan + size, sizeof plan - 1 - size)) > 0;) size += (size_t)n;
  int count = 0;
  char* next_line = NULL;
  for (char* line = strtok_r(plan, "\n", &next_line); line && count < kMaxLines;
       line = strtok_r(NULL, "\n", &next_line)) {
    struct step* step = &steps[count++];
    char* next_word = NULL;
    for (char* word = strtok_r(line, "\t", &next_word); word && step->count < kMaxWords;
         word = strtok_r(NULL, "\t", &next_word)) {
      step->words[step->count++] = word;
    }
  }
  return count;
}

static void run(const struct step* step, int round) {
  static char numbered[kMaxWords][4096];
  char* argv[kMaxWords + 1] = {0};
  for (int i = 1; i < step->count; ++i) {
    size_t length = strlen(step->words[i]);
    argv[i - 1] = step->words[i];
    if (length > 0 && step->words[i][length - 1] == '%') {
      snprintf(numbered[i], sizeof numbered[i], "%.*s%d", (int)length - 1, step->words[i], round);
      argv[i - 1] = numbered[i];
    }
  }
  long long began = microseconds();
  pid_t pid = vfork();
  if (pid == 0) {
    execv(argv[0], argv);
    _exit(127);
  }
  int status = 0;
  struct rusage usage;
  while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  long long wall = microseconds() - began;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fprintf(stderr, "stopwatch: %s: %s ended with status %x\n", step->words[0], argv[0], (unsigned)status);
    exit(1);
  }
  if (strcmp(step->words[0], "-") != 0) {
    fprintf(results, "%s\t%lld\t%lld\t%ld\n", step->words[0], wall, of(usage.ru_utime) + of(usage.ru_stime),
            usage.ru_maxrss);
  }
}

int main(int argc, char** argv) {
  static struct step steps[kMaxLines];
  int rounds = argc == 2 ? atoi(argv[1]) : 0;
  int count = read_plan(steps);
  if (rounds <= 0 || count == 0) {
    fprintf(stderr, "usage: stopwatch ROUNDS < PLAN\n");
    return 2;
  }
  // What a command leaves running becomes our child, to be waited for.
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  results = fdopen(fcntl(1, F_DUPFD_CLOEXEC, 3), "w");
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(null, 0);
  dup2(null, 1);
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < count; ++i) {
      if (strcmp(steps[i].words[0], "orphans") == 0) {
        while (wait(NULL) > 0 || errno == EINTR) {
        }
      } else {
        run(&steps[i], round);
      }
    }
  }
  return 0;
}
