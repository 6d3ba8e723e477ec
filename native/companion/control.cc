#include "control.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <sstream>
#include <stdexcept>

namespace gantry {

namespace {

constexpr int64_t kIdleMs = 10'000;
constexpr size_t kMostBytes = 64 * 1024 * 1024;
constexpr size_t kMostDescriptors = 253;

/// A client of the control socket, from its first byte until it has the answer.
class Client final : public Source {
 public:
  Client(UniqueFd fd, Loop& loop, Control& control, Requests& requests)
      : Source(std::move(fd)), loop_(loop), control_(control), requests_(requests) {
    control_.opened();
  }
  ~Client() override { control_.closed(); }

  void on_ready(uint32_t) override {
    if (answered_) return send_answer();
    std::array<char, 65'536> chunk;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> ancillary;
    for (;;) {
      iovec part{chunk.data(), chunk.size()};
      msghdr header{};
      header.msg_iov = &part;
      header.msg_iovlen = 1;
      header.msg_control = ancillary.data();
      header.msg_controllen = ancillary.size();
      ssize_t size = ::recvmsg(fd(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (size < 0) return loop_.remove(this);
      take_descriptors(header);
      if (size == 0) return finish();
      text_.append(chunk.data(), static_cast<size_t>(size));
      if (text_.size() > kMostBytes) return loop_.remove(this);
    }
  }

 private:
  void take_descriptors(msghdr& header) {
    for (cmsghdr* item = CMSG_FIRSTHDR(&header); item; item = CMSG_NXTHDR(&header, item)) {
      if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
      size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; i++) {
        int descriptor;
        std::memcpy(&descriptor, CMSG_DATA(item) + i * sizeof(int), sizeof descriptor);
        descriptors_.emplace_back(descriptor);
      }
    }
  }

  void finish() {
    // Nothing was asked: somebody who watched for our end and has ended first.
    if (text_.empty()) return loop_.remove(this);
    answer_ = requests_.run(text_, std::move(descriptors_)) + "\n";
    answered_ = true;
    send_answer();
  }

  void send_answer() {
    while (sent_ < answer_.size()) {
      ssize_t size = ::send(fd(), answer_.data() + sent_, answer_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0 && errno == EAGAIN) return loop_.set_events(this, EPOLLOUT);
      if (size <= 0) break;
      sent_ += static_cast<size_t>(size);
    }
    loop_.remove(this);
  }

  Loop& loop_;
  Control& control_;
  Requests& requests_;
  std::string text_;
  std::deque<UniqueFd> descriptors_;
  bool answered_ = false;
  std::string answer_;
  size_t sent_ = 0;
};

}  // namespace

Words split(const std::string& text, char separator) {
  Words parts;
  std::string part;
  std::istringstream stream(text);
  while (std::getline(stream, part, separator)) parts.push_back(part);
  return parts;
}

void need_words(const Words& words, size_t least) {
  if (words.size() < least) throw std::invalid_argument("too few words");
}

std::string Requests::run(const std::string& text, std::deque<UniqueFd> descriptors) {
  descriptors_ = std::move(descriptors);
  std::string answer = "ok";
  std::istringstream lines(text);
  std::string one;
  unsigned number = 0;
  try {
    while (std::getline(lines, one)) {
      number++;
      Words words = split(one, ' ');
      need_words(words, 1);
      if (words[0] == "hello") {
        answer += " " + version_;
        for (const std::string& word : state()) answer += " " + word;
      } else if (words[0] == "quit") {
        loop_.stop();
      } else {
        line(words);
      }
    }
  } catch (const std::exception& error) {
    answer = "error line " + std::to_string(number) + ": " + error.what();
  }
  descriptors_.clear();
  return answer;
}

UniqueFd Requests::take_descriptor() {
  if (descriptors_.empty()) throw std::invalid_argument("no socket came with it");
  UniqueFd first = std::move(descriptors_.front());
  descriptors_.pop_front();
  return first;
}

void Control::on_ready(uint32_t) {
  UniqueFd accepted(::accept4(fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!accepted) return;
  loop_.add(std::make_unique<Client>(std::move(accepted), loop_, *this, requests_), EPOLLIN);
}

void Control::watch_idle() { loop_.set_deadline(this, kIdleMs); }

void Control::closed() {
  connections_--;
  watch_idle();
}

void Control::on_deadline() {
  if (connections_ == 0 && requests_.idle()) return loop_.stop();
  watch_idle();
}

}  // namespace gantry
