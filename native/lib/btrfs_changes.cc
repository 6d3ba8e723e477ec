#include <fcntl.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "gantry/btrfs.h"
#include "gantry/error.h"
#include "gantry/fd.h"
#include "gantry/path.h"

namespace gantry {
namespace {

// The send stream's words, as its version 1 has them; the kernel's headers for user space do not.
constexpr char kMagic[] = "btrfs-stream";
constexpr uint16_t kSubvolume = 1;
constexpr uint16_t kSnapshot = 2;
constexpr uint16_t kEnd = 21;
constexpr uint16_t kPath = 15;
constexpr uint16_t kPathTo = 16;
constexpr uint16_t kPathLink = 17;

#pragma pack(push, 1)
struct StreamHead {
  char magic[sizeof kMagic];
  uint32_t version;
};
struct CommandHead {
  uint32_t length;
  uint16_t command;
  uint32_t checksum;
};
struct AttributeHead {
  uint16_t type;
  uint16_t length;
};
#pragma pack(pop)

/// Longer than any command without file content.
constexpr uint32_t kMaxCommand = 1 << 20;

/// What BTRFS_IOC_INO_PATHS gives at most.
constexpr size_t kInodePathsSize = 4096;

/// Reads the stream of one send.
class Stream {
 public:
  explicit Stream(int fd) : fd_(fd) {}

  /// False when the stream ended where it may: nothing came at all.
  bool take(void* to, size_t size) {
    for (size_t have = 0; have < size;) {
      ssize_t count = ::read(fd_, static_cast<char*>(to) + have, size - have);
      if (count < 0) {
        if (errno == EINTR) continue;
        throw_errno("read");
      }
      if (count == 0) {
        if (have == 0) return false;
        throw SysError(EIO, "BTRFS_IOC_SEND", "the stream ends too early");
      }
      have += static_cast<size_t>(count);
    }
    return true;
  }

  /// Every path that a command names.
  void paths(PathTree& into) {
    StreamHead head;
    if (!take(&head, sizeof head)) return;
    if (memcmp(head.magic, kMagic, sizeof kMagic) != 0 || head.version != 1)
      throw SysError(EPROTO, "BTRFS_IOC_SEND", "an unknown stream");
    CommandHead command;
    std::vector<char> body;
    while (take(&command, sizeof command) && command.command != kEnd) {
      if (command.length > kMaxCommand) throw SysError(EPROTO, "BTRFS_IOC_SEND", "a command that is too long");
      body.resize(command.length);
      if (command.length > 0 && !take(body.data(), body.size()))
        throw SysError(EIO, "BTRFS_IOC_SEND", "the stream ends too early");
      // These two name the subvolume itself.
      if (command.command != kSubvolume && command.command != kSnapshot) attributes(body, into);
    }
  }

 private:
  static void attributes(const std::vector<char>& body, PathTree& into) {
    for (size_t at = 0; at < body.size();) {
      AttributeHead head;
      if (body.size() - at < sizeof head) throw SysError(EPROTO, "BTRFS_IOC_SEND", "half an attribute");
      memcpy(&head, body.data() + at, sizeof head);
      at += sizeof head;
      if (body.size() - at < head.length) throw SysError(EPROTO, "BTRFS_IOC_SEND", "half an attribute");
      if (head.type == kPath || head.type == kPathTo || head.type == kPathLink)
        into.add(std::string_view(body.data() + at, head.length));
      at += head.length;
    }
  }

  int fd_;
};

/// The stream names a file that changed by one of its names; the others changed as well.
class LinkNames {
 public:
  explicit LinkNames(int tree) : tree_(tree) {}

  void complete(const PathTree& named, const std::string& path, PathTree& all) const {
    for (const auto& [name, deeper] : named.below) {
      const std::string here = path.empty() ? name : path + "/" + name;
      UniqueFd fd(open_in_root_raw(tree_, here.c_str(), O_PATH | O_NOFOLLOW));
      struct stat st;
      if (fd && fstat(fd.get(), &st) == 0 && !S_ISDIR(st.st_mode) && st.st_nlink > 1) names_of(st.st_ino, all);
      complete(deeper, here, all);
    }
  }

 private:
  void names_of(ino_t inode, PathTree& all) const {
    // As large as the kernel will fill, and never less than the head of the answer.
    std::vector<uint64_t> answer(kInodePathsSize / sizeof(uint64_t));
    btrfs_ioctl_ino_path_args args = {};
    args.inum = inode;
    args.size = kInodePathsSize;
    args.fspath = reinterpret_cast<uint64_t>(answer.data());
    if (ioctl(tree_, BTRFS_IOC_INO_PATHS, &args) != 0) throw_errno("BTRFS_IOC_INO_PATHS");
    btrfs_data_container head;
    memcpy(&head, answer.data(), sizeof head);
    // More names than fit: their folders must be looked through.
    if (head.elem_missed > 0) throw SysError(E2BIG, "BTRFS_IOC_INO_PATHS");
    const char* values = reinterpret_cast<const char*>(answer.data()) + sizeof head;
    for (uint32_t i = 0; i < head.elem_cnt; i++) {
      uint64_t offset;
      memcpy(&offset, values + i * sizeof offset, sizeof offset);
      all.add(values + offset);
    }
  }

  int tree_;
};

}  // namespace

PathTree changed_paths(const std::string& tree, const std::string& parent) {
  const UniqueFd tree_fd = open_folder(tree, O_RDONLY);
  const UniqueFd parent_fd = open_folder(parent, O_RDONLY);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw_errno("pipe2");
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);

  btrfs_ioctl_send_args args = {};
  args.send_fd = write_end.get();
  args.parent_root = subvolume_id(parent_fd.get(), parent);
  args.flags = BTRFS_SEND_FLAG_NO_FILE_DATA;
  int failure = 0;
  std::thread sender([&] {
    if (ioctl(tree_fd.get(), BTRFS_IOC_SEND, &args) != 0) failure = errno;
    write_end.reset();
  });
  PathTree named;
  std::exception_ptr thrown;
  try {
    Stream(read_end.get()).paths(named);
    // A sender that is not done would wait for a reader.
    char rest[4096];
    while (::read(read_end.get(), rest, sizeof rest) > 0) {
    }
  } catch (...) {
    thrown = std::current_exception();
    read_end.reset();
  }
  sender.join();
  if (failure != 0) throw SysError(failure, "BTRFS_IOC_SEND", tree);
  if (thrown) std::rethrow_exception(thrown);
  PathTree all = named;
  LinkNames(tree_fd.get()).complete(named, "", all);
  return all;
}

}  // namespace gantry
