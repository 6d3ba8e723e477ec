#include "sync.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "errno_text.h"
#include "gantry/error.h"

namespace gantry::runtime {

namespace {
constexpr std::size_t kMaxMessage = 16384;
}

std::string SyncMessage::error() const {
  if (type != SyncType::kFailed) return text;
  auto space = text.find(' ');
  return (space == std::string::npos ? "exec" : text.substr(space + 1)) + ": " + errno_text(std::atoi(text.c_str()));
}

std::pair<Sync, Sync> Sync::pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) throw_errno("socketpair");
  return {Sync(UniqueFd(fds[0]), false), Sync(UniqueFd(fds[1]), true)};
}

void Sync::send(SyncType type, const std::string& text) const {
  std::string message(1, static_cast<char>(type));
  message.append(text, 0, kMaxMessage - 1);
  // Init may well die of SIGPIPE: whom it would serve is gone.
  while ((inits_ ? ::write(fd_.get(), message.data(), message.size())
                 : ::send(fd_.get(), message.data(), message.size(), MSG_NOSIGNAL)) < 0) {
    if (errno != EINTR) throw_errno("send to the other side of the container's set-up");
  }
}

SyncMessage Sync::receive() const {
  std::vector<char> buffer(kMaxMessage);
  for (;;) {
    ssize_t n = ::read(fd_.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    // A reset is what is seen of a peer that died with something unread.
    if (n == 0 || (n < 0 && errno == ECONNRESET)) return {};
    if (n < 0) throw_errno("receive from the other side of the container's set-up");
    return {static_cast<SyncType>(buffer[0]), std::string(buffer.data() + 1, static_cast<std::size_t>(n) - 1)};
  }
}

SyncMessage Sync::receive_from(int pidfd) const {
  struct pollfd wait[2] = {{fd_.get(), POLLIN, 0}, {pidfd, POLLIN, 0}};
  while (::poll(wait, 2, -1) < 0) {
    if (errno != EINTR) throw_errno("poll");
  }
  // What it said before its end counts.
  if (!wait[0].revents && ::poll(wait, 1, 0) <= 0) return {};
  return receive();
}

void Sync::ask(SyncType question, const std::string& text) const {
  send(question, text);
  if (receive().type != SyncType::kGo) throw InvalidInput("the runtime went away");
}

}  // namespace gantry::runtime
