#include "criu.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <exception>
#include <optional>

#include "console.h"
#include "errno_text.h"
#include "gantry/error.h"
#include "log.h"

namespace gantry::runtime {
namespace {

// The first that freezes by cgroup v2 and knows time namespaces.
constexpr unsigned kLeastMajor = 3, kLeastMinor = 14;
constexpr std::size_t kMaxMessage = 64 << 10;
constexpr unsigned kCloseRangeCloexec = 4;
constexpr int kSocket = kCriuImages - 1;

struct Answer {
  CriuRequest type{};
  bool success = false;
  int error = 0;
  pid_t restored = 0;
  bool tracks_memory = false;
  unsigned major = 0, minor = 0;
  CriuNotice notice;
};

/// Calls `visit` for each field of a message.
template <typename Visit>
void each_field(std::string_view bytes, Visit visit) {
  ProtobufReader reader(bytes);
  for (ProtobufField field; reader.next(field);) visit(field);
}

Answer parse_answer(std::string_view bytes) {
  Answer answer;
  each_field(bytes, [&](const ProtobufField& field) {
    switch (field.number) {
      case 1:
        answer.type = static_cast<CriuRequest>(field.value);
        break;
      case 2:
        answer.success = field.value != 0;
        break;
      case 4:
        each_field(field.bytes, [&](const ProtobufField& restored) {
          if (restored.number == 1) answer.restored = static_cast<pid_t>(restored.value);
        });
        break;
      case 5:
        each_field(field.bytes, [&](const ProtobufField& notice) {
          if (notice.number == 1) answer.notice.point = notice.bytes;
          if (notice.number == 2) answer.notice.pid = static_cast<pid_t>(notice.value);
        });
        break;
      case 7:
        answer.error = static_cast<int>(field.value);
        break;
      case 8:
        each_field(field.bytes, [&](const ProtobufField& feature) {
          if (feature.number == 1) answer.tracks_memory = feature.value != 0;
        });
        break;
      case 10:
        each_field(field.bytes, [&](const ProtobufField& version) {
          if (version.number == 1) answer.major = static_cast<unsigned>(version.value);
          if (version.number == 2) answer.minor = static_cast<unsigned>(version.value);
        });
        break;
      default:
        break;
    }
  });
  return answer;
}

struct Message {
  std::string bytes;
  UniqueFd descriptor;
};

/// Empty at the end.
Message receive_message(int socket) {
  Message received{std::string(kMaxMessage, '\0'), UniqueFd()};
  struct iovec data = {received.bytes.data(), received.bytes.size()};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n;
  while ((n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  if (n < 0) throw_errno("receive from criu");
  if (struct cmsghdr* header = CMSG_FIRSTHDR(&message); header && header->cmsg_type == SCM_RIGHTS) {
    int fd;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    received.descriptor.reset(fd);
  }
  if (message.msg_flags & MSG_TRUNC) throw InvalidInput("criu's answer is too long");
  received.bytes.resize(static_cast<std::size_t>(n));
  return received;
}

UniqueFd open_folder(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw_errno("open", path);
  return fd;
}

std::pair<UniqueFd, UniqueFd> message_sockets() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw_errno("socketpair");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

/// criu's process and our end of its socket. Killed and reaped when it is let go of before it has ended.
class Service {
 public:
  Service(const std::string& program, const CriuPlace& place);
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  ~Service() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    wait();
  }

  void send(const ProtobufWriter& request) const;
  Answer receive() const;
  /// No more requests; waits for its end.
  void finish() {
    socket_.reset();
    wait();
  }

 private:
  [[noreturn]] static void become(const std::string& program, const CriuPlace& place, UniqueFd starter);
  void wait() noexcept {
    while (pid_ > 0 && ::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
  }

  pid_t pid_ = 0;
  UniqueFd socket_;
};

Service::Service(const std::string& program, const CriuPlace& place) {
  // It sends our end of its socket, then why it could not become criu, if so; a successful exec closes this one.
  auto [ours, theirs] = message_sockets();
  pid_ = ::fork();
  if (pid_ < 0) throw_errno("fork");
  if (pid_ == 0) become(program, place, std::move(theirs));
  theirs.reset();
  for (Message message; !(message = receive_message(ours.get())).bytes.empty();) {
    if (message.descriptor) {
      socket_ = std::move(message.descriptor);
      continue;
    }
    wait();
    throw InvalidInput(message.bytes);
  }
  if (!socket_) throw InvalidInput("the process that was to become criu died");
}

void Service::become(const std::string& program, const CriuPlace& place, UniqueFd starter) {
  std::string failure;
  try {
    if (place.enter) place.enter();
    // Made here: criu looks for the folders' descriptors in whichever process made its socket.
    auto [ours, theirs] = message_sockets();
    send_descriptor(starter.get(), "socket", theirs.get());
    // In their order; high first, so that none is overwritten before it is in its place.
    constexpr int kHigh = 64;
    std::vector<UniqueFd> high;
    auto keep = [&](int fd) { high.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, kHigh)); };
    keep(ours.get());
    if (!place.images.empty()) {
      UniqueFd images = place.images_mount < 0 ? open_folder(place.images) : UniqueFd();
      keep(images ? images.get() : place.images_mount);
      keep(open_folder(place.work).get());
    }
    for (int fd : place.descriptors) keep(fd);
    starter = UniqueFd(::fcntl(starter.get(), F_DUPFD_CLOEXEC, kHigh));
    if (::syscall(SYS_close_range, 3u, ~0u, kCloseRangeCloexec) != 0) throw_errno("close_range");
    for (std::size_t i = 0; i < high.size(); ++i) {
      if (!high[i] || ::dup2(high[i].get(), kSocket + static_cast<int>(i)) < 0) throw_errno("dup2");
    }
    if (!place.standard_streams) {
      UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
      if (!null) throw_errno("open", "/dev/null");
      for (int fd = 0; fd <= 2; ++fd) ::dup2(null.get(), fd);
    }
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    std::string number = std::to_string(kSocket);
    ::execlp(program.c_str(), program.c_str(), "swrk", number.c_str(), nullptr);
    failure = errno == ENOENT ? "criu is needed and not installed: no program " + program
                              : "exec " + program + ": " + errno_text(errno);
  } catch (const std::exception& e) {
    failure = describe(e);
  }
  ::_exit(::send(starter.get(), failure.data(), failure.size(), MSG_NOSIGNAL) < 0 ? 126 : 127);
}

void Service::send(const ProtobufWriter& request) const {
  const std::string& bytes = request.bytes();
  while (::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) throw_errno("send a request to criu");
  }
}

Answer Service::receive() const {
  Message message = receive_message(socket_.get());
  if (message.bytes.empty()) throw InvalidInput("criu ended without an answer");
  Answer answer = parse_answer(message.bytes);
  answer.notice.descriptor = std::move(message.descriptor);
  return answer;
}

ProtobufWriter request_of(CriuRequest type) {
  ProtobufWriter request;
  request.number(1, static_cast<int>(type));
  return request;
}

std::string failure_of(const Answer& answer) {
  std::string text = "criu failed";
  if (answer.error) text += ": " + errno_text(answer.error);
  return text;
}

}  // namespace

void CriuOptions::external_mount(const std::string& key, const std::string& value) {
  options_.message(23, ProtobufWriter().text(1, key).text(2, value));
}

void CriuOptions::cgroup_root(const std::string& controller, const std::string& path) {
  options_.message(25, ProtobufWriter().text(1, controller).text(2, path));
}

void CriuOptions::inherit(const std::string& key, int fd) {
  options_.message(27, ProtobufWriter().text(1, key).number(2, fd));
}

void CriuOptions::join_namespace(const std::string& kind, const std::string& path) {
  options_.message(39, ProtobufWriter().text(1, kind).text(2, path));
}

void CriuOptions::page_server(const std::string& address, int port) {
  options_.message(11, ProtobufWriter().text(1, address).number(2, port));
}

void Criu::require() const {
  Service service(program_, {});
  service.send(request_of(CriuRequest::kVersion));
  Answer answer = service.receive();
  service.finish();
  if (!answer.success) throw InvalidInput(failure_of(answer));
  if (answer.major > kLeastMajor || (answer.major == kLeastMajor && answer.minor >= kLeastMinor)) return;
  throw InvalidInput("criu " + std::to_string(answer.major) + "." + std::to_string(answer.minor) + " is too old: " +
                     std::to_string(kLeastMajor) + "." + std::to_string(kLeastMinor) + " or later is needed");
}

void Criu::require_memory_tracking() const {
  Service service(program_, {});
  ProtobufWriter request = request_of(CriuRequest::kFeatureCheck);
  request.message(5, ProtobufWriter().number(1, true));
  service.send(request);
  Answer answer = service.receive();
  service.finish();
  if (!answer.success) throw InvalidInput(failure_of(answer));
  if (!answer.tracks_memory) throw InvalidInput("this kernel does not tell criu which pages of memory have changed");
}

pid_t Criu::run(CriuRequest type, const CriuOptions& options, const CriuPlace& place,
                const std::function<void(CriuNotice&)>& notice) const {
  Service service(program_, place);
  ProtobufWriter request = request_of(type);
  request.message(2, options.message());
  service.send(request);
  std::exception_ptr refused;
  for (;;) {
    std::optional<Answer> answer;
    try {
      answer = service.receive();
    } catch (const std::exception&) {
      // Because of what it was told.
      if (refused) std::rethrow_exception(refused);
      throw;
    }
    if (answer->type == CriuRequest::kNotify) {
      log_debug("criu is at " + answer->notice.point);
      try {
        if (!refused) notice(answer->notice);
      } catch (const std::exception&) {
        refused = std::current_exception();
      }
      service.send(request_of(CriuRequest::kNotify).number(3, !refused));
      continue;
    }
    if (refused) std::rethrow_exception(refused);
    if (!answer->success) throw InvalidInput(failure_of(*answer));
    if (answer->type != type) throw InvalidInput("criu answered something that it was not asked");
    service.finish();
    return answer->restored;
  }
}

}  // namespace gantry::runtime
