#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
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
  Json(const rapidjson::Value* value, std::string path) : value_(value), path_(std::move(path)) {}

  bool present() const { return value_ && !value_->IsNull(); }
  const std::string& path() const { return path_; }
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
  const rapidjson::Value* value_;
  std::string path_;
};

/// Parses one whole document. `name` begins every path in messages. Throws InvalidInput with the offset of the mistake.
/// Parsing does not recurse, so depth in hostile input cannot exhaust the stack.
rapidjson::Document parse_json(std::string_view text, const std::string& name);

/// Compact text of a value.
std::string to_text(const rapidjson::Value& value);

}  // namespace gantry::runtime
