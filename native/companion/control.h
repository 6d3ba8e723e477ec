#pragma once

#include <deque>
#include <string>
#include <vector>

#include "gantry/fd.h"
#include "loop.h"

namespace gantry {

using Words = std::vector<std::string>;

/// The parts of a text between separators.
Words split(const std::string& text, char separator);

/// What a program is told and asked through its control socket: lines of words between single spaces, with descriptors
/// beside them. `hello` and `quit` are every program's; the rest is its own.
class Requests {
 public:
  Requests(Loop& loop, std::string version) : loop_(loop), version_(std::move(version)) {}
  virtual ~Requests() = default;
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;

  /// Carries out all lines, or up to the first that is wrong. Returns the answer: `ok` and what was asked, or `error`
  /// and the reason.
  std::string run(const std::string& text, std::deque<UniqueFd> descriptors);

  /// Whether the program has nothing to do for anybody.
  virtual bool idle() const = 0;

 protected:
  /// Throws for what it cannot do; the text is the answer's.
  virtual void line(const Words& words) = 0;
  /// What `hello` tells beside the version.
  virtual Words state() const = 0;

  /// The next of those that came with the request.
  UniqueFd take_descriptor();

 private:
  Loop& loop_;
  std::string version_;
  std::deque<UniqueFd> descriptors_;
};

/// Throws when there are fewer than `least`.
void need_words(const Words& words, size_t least);

/// The socket that the daemon talks to: one request for each connection. Who may connect is a matter of the folder that
/// it is in. With nothing to do and no daemon connected for a while, the program ends.
class Control final : public Source {
 public:
  Control(UniqueFd listening, Loop& loop, Requests& requests)
      : Source(std::move(listening)), loop_(loop), requests_(requests) {}

  void on_ready(uint32_t events) override;
  void on_deadline() override;

  /// To be called once it was added to the loop.
  void watch_idle();
  void opened() { connections_++; }
  void closed();

 private:
  Loop& loop_;
  Requests& requests_;
  unsigned connections_ = 0;
};

}  // namespace gantry
