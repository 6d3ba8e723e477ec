#include "log.h"

#include <fcntl.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <unistd.h>

#include "gantry/error.h"
#include "gantry/fd.h"
#include "state.h"

namespace gantry::runtime {
namespace {

LogOptions& options() {
  static LogOptions current;
  return current;
}

std::string quoted(const std::string& text) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
  return std::string(buffer.GetString(), buffer.GetSize());
}

void write_line(int fd, const std::string& line) {
  // Nobody is left to tell when the log itself fails.
  if (::write(fd, line.data(), line.size()) < 0) return;
}

void log(const char* level, const std::string& message) {
  const auto& o = options();
  std::string text = quoted(message), time = "\"" + timestamp() + "\"";
  std::string line = o.json ? "{\"level\":\"" + std::string(level) + "\",\"msg\":" + text + ",\"time\":" + time + "}\n"
                            : "time=" + time + " level=" + level + " msg=" + text + "\n";
  if (o.path.empty()) {
    write_line(2, line);
    return;
  }
  UniqueFd fd(::open(o.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (fd) write_line(fd.get(), line);
}

}  // namespace

void set_log(LogOptions wanted) {
  if (!wanted.path.empty()) {
    UniqueFd fd(::open(wanted.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!fd) throw_errno("open", wanted.path);
  }
  options() = std::move(wanted);
}

void log_warning(const std::string& message) { log("warning", message); }

void log_debug(const std::string& message) {
  if (options().debug) log("debug", message);
}

void log_failure(const std::string& message) {
  if (!options().path.empty()) log("error", message);
  std::string line = message;
  for (char& c : line) {
    if (c == '\n') c = ' ';
  }
  write_line(2, line + "\n");
}

}  // namespace gantry::runtime
