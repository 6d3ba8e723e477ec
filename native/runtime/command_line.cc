#include "command_line.h"

#include <charconv>

namespace gantry::runtime {

CommandLine::CommandLine(const std::vector<Flag>& flags, const std::vector<std::string>& words) {
  std::size_t i = 0;
  for (; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      ++i;
      break;
    }
    if (word.size() < 2 || word[0] != '-') break;
    // One dash or two: Go's flag packages take both.
    std::string name = word.substr(word[1] == '-' ? 2 : 1);
    auto equals = name.find('=');
    std::string attached = equals == std::string::npos ? "" : name.substr(equals + 1);
    name = name.substr(0, equals);
    const Flag* flag = nullptr;
    for (const auto& one : flags) {
      if (name == one.name || (name.size() == 1 && one.letter && name[0] == one.letter)) flag = &one;
    }
    if (!flag) throw UsageError("flag provided but not defined: -" + name);
    if (!flag->takes_value) {
      if (equals == std::string::npos || attached == "true") {
        given_.emplace_back(flag->name, "true");
      } else if (attached != "false") {
        throw UsageError("invalid value " + attached + " for flag -" + name);
      }
    } else if (equals != std::string::npos) {
      given_.emplace_back(flag->name, attached);
    } else if (i + 1 < words.size()) {
      given_.emplace_back(flag->name, words[++i]);
    } else {
      throw UsageError("flag needs an argument: -" + name);
    }
  }
  arguments_.assign(words.begin() + static_cast<std::ptrdiff_t>(i), words.end());
}

bool CommandLine::has(const std::string& flag) const {
  for (const auto& [name, value] : given_) {
    if (name == flag) return true;
  }
  return false;
}

std::string CommandLine::value(const std::string& flag) const {
  std::string last;
  for (const auto& [name, value] : given_) {
    if (name == flag) last = value;
  }
  return last;
}

std::vector<std::string> CommandLine::values(const std::string& flag) const {
  std::vector<std::string> all;
  for (const auto& [name, value] : given_) {
    if (name == flag) all.push_back(value);
  }
  return all;
}

int CommandLine::number(const std::string& flag, int fallback) const {
  std::string text = value(flag);
  if (text.empty()) return fallback;
  int n = 0;
  auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (err != std::errc() || end != text.data() + text.size()) {
    throw UsageError("invalid value \"" + text + "\" for flag -" + flag);
  }
  return n;
}

}  // namespace gantry::runtime
