#include "forward.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <array>
#include <memory>

namespace gantry::dns {

namespace {

constexpr int64_t kTimeoutMs = 3'000;
constexpr size_t kMostServers = 3;

uint16_t random_id() {
  uint16_t id = 0;
  // Before the kernel's pool is ready it would block; names can wait for that.
  if (::getrandom(&id, sizeof id, 0) != sizeof id) return 0;
  return id;
}

/// What is left to do for one question.
struct Task {
  Loop& loop;
  Bytes query;
  uint16_t id;
  std::vector<Upstream> servers;
  size_t next = 0;
  bool tcp;
  /// Where `source` is from; nothing for sockets of this process's own network.
  std::shared_ptr<SourcePool> pool;
  int source = -1;
  /// The try that is under way.
  Source* current = nullptr;
  /// A failure that a server told; better than silence when no other one does better.
  Bytes last;
  std::function<void(const Bytes*)> done;
};

void try_next(const std::shared_ptr<Task>& task);
void finish(Task& task, const Bytes* answer);

/// One question to one server.
class Try : public Source {
 public:
  Try(UniqueFd fd, std::shared_ptr<Task> task) : Source(std::move(fd)), task_(std::move(task)) {}

  void on_deadline() override { give_up(); }

 protected:
  void give_up() {
    std::shared_ptr<Task> task = task_;
    task->loop.remove(this);
    try_next(task);
  }

  void accept(Bytes answer) {
    std::shared_ptr<Task> task = task_;
    set_id(answer, task->id);
    if (failed(answer)) {
      task->last = std::move(answer);
      return give_up();
    }
    task->loop.remove(this);
    finish(*task, &answer);
  }

  Task& task() { return *task_; }

 private:
  std::shared_ptr<Task> task_;
};

class UdpTry final : public Try {
 public:
  using Try::Try;

  void on_ready(uint32_t) override {
    static std::array<uint8_t, 65'536> buffer;
    // Connected: the kernel lets through only what comes from the server. What does not fit the question is ignored,
    // and the right answer may still come.
    for (int i = 0; i < 16; i++) {
      ssize_t size = ::recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (size < 0) {
        if (errno == EAGAIN || errno == EINTR) return;
        return give_up();
      }
      View message(buffer.data(), static_cast<size_t>(size));
      if (answers(task().query, message)) return accept(Bytes(message.begin(), message.end()));
    }
  }
};

class TcpTry final : public Try {
 public:
  using Try::Try;

  void on_ready(uint32_t events) override {
    if (!sent_) {
      if ((events & EPOLLOUT) == 0) return (events & (EPOLLERR | EPOLLHUP)) ? give_up() : void();
      Bytes framed{static_cast<uint8_t>(task().query.size() >> 8), static_cast<uint8_t>(task().query.size())};
      framed.insert(framed.end(), task().query.begin(), task().query.end());
      // A fresh connection's buffer takes far more than one question.
      if (::send(fd(), framed.data(), framed.size(), MSG_NOSIGNAL | MSG_DONTWAIT) !=
          static_cast<ssize_t>(framed.size()))
        return give_up();
      sent_ = true;
      return task().loop.set_events(this, EPOLLIN);
    }
    std::array<uint8_t, 16'384> chunk;
    ssize_t size = ::recv(fd(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) return give_up();
    received_.insert(received_.end(), chunk.begin(), chunk.begin() + size);
    if (received_.size() < 2) return;
    size_t end = 2u + (static_cast<size_t>(received_[0]) << 8 | received_[1]);
    if (received_.size() < end) return;
    Bytes message(received_.begin() + 2, received_.begin() + static_cast<ptrdiff_t>(end));
    if (!answers(task().query, message)) return give_up();
    accept(std::move(message));
  }

 private:
  bool sent_ = false;
  Bytes received_;
};

/// A socket on its way to the server; nothing when it cannot even be tried.
UniqueFd socket_to(const Task& task, const Upstream& server) {
  if (task.source >= 0) {
    // The try closes its own descriptor of the pool's socket.
    UniqueFd fd(::fcntl(task.source, F_DUPFD_CLOEXEC, 0));
    int error = fd ? reconnect(fd.get(), server.address) : errno;
    return error == 0 || error == EINPROGRESS ? std::move(fd) : UniqueFd();
  }
  int kind = (task.tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  UniqueFd fd(::socket(server.address.ss_family, kind, 0));
  if (!fd) return fd;
  int connected = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&server.address), server.size);
  return connected == 0 || errno == EINPROGRESS ? std::move(fd) : UniqueFd();
}

/// False when the server cannot even be tried.
bool try_one(const std::shared_ptr<Task>& task, const Upstream& server) {
  UniqueFd fd = socket_to(*task, server);
  if (!fd) return false;
  set_id(task->query, random_id());
  std::unique_ptr<Source> source;
  if (task->tcp) {
    source = std::make_unique<TcpTry>(std::move(fd), task);
  } else {
    if (::send(fd.get(), task->query.data(), task->query.size(), MSG_NOSIGNAL) < 0) return false;
    source = std::make_unique<UdpTry>(std::move(fd), task);
  }
  Source* added = task->loop.add(std::move(source), task->tcp ? EPOLLIN | EPOLLOUT : EPOLLIN);
  if (!added) return false;
  task->current = added;
  task->loop.set_deadline(added, kTimeoutMs);
  return true;
}

void finish(Task& task, const Bytes* answer) {
  if (task.source >= 0) task.pool->give_back(task.source, task.tcp);
  task.source = -1;
  task.done(answer);
}

void try_next(const std::shared_ptr<Task>& task) {
  while (task->next < std::min(task->servers.size(), kMostServers)) {
    const Upstream& server = task->servers[task->next++];
    if (try_one(task, server)) return;
  }
  finish(*task, task->last.empty() ? nullptr : &task->last);
}

}  // namespace

bool start_forward(Loop& loop, View query, std::vector<Upstream> servers, bool tcp, std::shared_ptr<SourcePool> pool,
                   std::function<void(const Bytes*)> done) {
  auto task = std::make_shared<Task>(Task{.loop = loop,
                                          .query = Bytes(query.begin(), query.end()),
                                          .id = get_id(query),
                                          .servers = std::move(servers),
                                          .tcp = tcp,
                                          .pool = std::move(pool),
                                          .last = {},
                                          .done = std::move(done)});
  if (task->pool) {
    std::weak_ptr<Task> weak = task;
    task->source = task->pool->take(tcp, [weak] {
      auto ending = weak.lock();
      if (!ending) return;
      if (ending->current) ending->loop.remove(ending->current);
      ending->source = -1;
      ending->done(nullptr);
    });
    if (task->source < 0) return false;
  }
  try_next(task);
  return true;
}

}  // namespace gantry::dns
