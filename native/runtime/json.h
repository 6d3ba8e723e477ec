#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#ifndef RAPIDJSON_HAS_STDSTRING
#define RAPIDJSON_HAS_STDSTRING 1
#endif
#include <rapidjson/document.h>

namespace gantry::runtime {

/// A value in a JSON document with its path, so that a wrong type is reported by name. Null counts as absent, as it
/// does for every runtime written in Go. Valid as long as the document.
class Json {
 public:
  /// `root` names the document. It has to live as long, and so has every key.
  Json(const rapidjson::Value* value, const char* root) : value_(value) { steps_[0] = {root, 0}; }

  bool present() const { return value_ && !value_->IsNull(); }
  /// Such as `config.json.linux.devices[2].major`. Made only when it is asked for: few values are wrong.
  std::string path() const;
  /// The underlying value; null when absent.
  const rapidjson::Value* raw() const { return present() ? value_ : nullptr; }

  /// Member of an object; absent when this is absent. Throws InvalidInput when this is something else.
  Json operator[](const char* key) const;

  /// The value, or throws InvalidInput when it is absent or of another type.
  std::string string() const;
  std::int64_t int64() const;
  std::uint64_t uint64() const;
  std::uint32_t uint32() const;
  bool boolean() const;

  std::string string_or(std::string fallback) const { return present() ? string() : std::move(fallback); }
  bool boolean_or(bool fallback) const { return present() ? boolean() : fallback; }
  std::optional<std::int64_t> int64_if() const { return present() ? std::optional(int64()) : std::nullopt; }
  std::optional<std::uint64_t> uint64_if() const { return present() ? std::optional(uint64()) : std::nullopt; }
  std::optional<std::uint32_t> uint32_if() const { return present() ? std::optional(uint32()) : std::nullopt; }

  /// Elements of an array, none when absent.
  void each(const std::function<void(const Json&)>& visit) const;
  /// Members of an object, none when absent.
  void each_member(const std::function<void(const std::string&, const Json&)>& visit) const;
  std::vector<std::string> strings() const;
  std::vector<std::pair<std::string, std::string>> string_map() const;

  [[noreturn]] void refuse(const std::string& expected) const;

 private:
  /// One more step of the path: a member's name, or an element's number.
  struct Step {
    const char* key;
    std::size_t index;
  };
  Json(const Json& parent, const rapidjson::Value* value, Step step);

  // The specification goes down by eight.
  static constexpr std::size_t kMaxSteps = 12;
  const rapidjson::Value* value_;
  std::array<Step, kMaxSteps> steps_;
  std::size_t length_ = 1;
};

/// A parsed document. Its strings lie in the text that it was made from.
class JsonDocument {
 public:
  /// Parses all of `text`. `name` begins every path in messages and must outlive the document. Throws InvalidInput with
  /// the offset of the mistake. Parsing does not recurse, so depth in hostile input cannot exhaust the stack.
  JsonDocument(std::string text, const char* name);
  JsonDocument(const JsonDocument&) = delete;
  JsonDocument& operator=(const JsonDocument&) = delete;

  Json root() const { return Json(&document_, name_); }

 private:
  std::string text_;
  const char* name_;
  rapidjson::Document document_;
};

/// Compact text of a value.
std::string to_text(const rapidjson::Value& value);

}  // namespace gantry::runtime
