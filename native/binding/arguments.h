#pragma once

#include <napi.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gantry::binding {

/// The arguments of one call, taken in order. The TypeScript beside this addon is its only caller and type-checked, so
/// a wrong kind is a defect of ours: a TypeError that names the position.
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}

  std::string text() {
    Napi::Value value = next();
    if (!value.IsString()) fail("text");
    return value.As<Napi::String>();
  }
  int fd() {
    Napi::Value value = next();
    if (!value.IsNumber()) fail("a descriptor");
    return value.As<Napi::Number>().Int32Value();
  }
  bool flag() {
    Napi::Value value = next();
    if (!value.IsBoolean()) fail("a boolean");
    return value.As<Napi::Boolean>();
  }
  /// A count that may be left out.
  std::optional<uint64_t> count() {
    Napi::Value value = next();
    if (value.IsUndefined()) return std::nullopt;
    if (!value.IsNumber()) fail("a number");
    double number = value.As<Napi::Number>().DoubleValue();
    if (!(number >= 0)) fail("a number from zero");
    // 2^63 and more, infinity included, mean no limit.
    if (number >= 9.2e18) return UINT64_MAX;
    return static_cast<uint64_t>(number);
  }
  std::optional<std::string> optional_text() {
    if (at_ < info_.Length() && info_[at_].IsUndefined()) {
      at_++;
      return std::nullopt;
    }
    return text();
  }
  std::vector<std::string> texts() {
    Napi::Value value = next();
    if (!value.IsArray()) fail("an array");
    auto array = value.As<Napi::Array>();
    std::vector<std::string> all;
    for (uint32_t i = 0; i < array.Length(); i++) {
      Napi::Value one = array[i];
      if (!one.IsString()) fail("an array of text");
      all.push_back(one.As<Napi::String>());
    }
    return all;
  }
  std::string bytes() {
    Napi::Value value = next();
    if (!value.IsBuffer()) fail("a Buffer");
    auto buffer = value.As<Napi::Buffer<char>>();
    return {buffer.Data(), buffer.Length()};
  }

 private:
  Napi::Value next() {
    if (at_ >= info_.Length()) {
      at_++;
      return info_.Env().Undefined();
    }
    return info_[at_++];
  }
  [[noreturn]] void fail(const char* wanted) const {
    throw Napi::TypeError::New(info_.Env(), "argument " + std::to_string(at_) + " must be " + wanted);
  }

  const Napi::CallbackInfo& info_;
  size_t at_ = 0;
};

}  // namespace gantry::binding
