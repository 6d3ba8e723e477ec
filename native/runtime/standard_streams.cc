#include "standard_streams.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>

namespace gantry::runtime {
namespace {

constexpr char kPipe[] = "pipe:[", kFile[] = "file[";
// STATX_MNT_ID; glibc's header has it from 2.37 on.
constexpr unsigned kMountId = 0x1000;

}  // namespace

std::vector<std::string> name_standard_streams() {
  std::vector<std::string> names(3);
  for (int fd = 0; fd <= 2; ++fd) {
    struct statx st;
    if (::statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | kMountId, &st) != 0) continue;
    char text[64] = "";
    if (S_ISFIFO(st.stx_mode)) {
      std::snprintf(text, sizeof text, "%s%" PRIu64 "]", kPipe, std::uint64_t{st.stx_ino});
    } else if ((S_ISREG(st.stx_mode) || (S_ISCHR(st.stx_mode) && ::isatty(fd) == 0)) && (st.stx_mask & kMountId)) {
      // In hexadecimal, as criu writes it.
      std::snprintf(text, sizeof text, "%s%" PRIx64 ":%" PRIx64 "]", kFile, std::uint64_t{st.stx_mnt_id},
                    std::uint64_t{st.stx_ino});
    }
    names[static_cast<std::size_t>(fd)] = text;
  }
  return names;
}

bool is_file_stream(const std::string& name) { return name.rfind(kFile, 0) == 0; }

bool is_replaceable_stream(const std::string& name) { return name.rfind(kPipe, 0) == 0 || is_file_stream(name); }

}  // namespace gantry::runtime
