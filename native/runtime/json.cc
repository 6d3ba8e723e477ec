#include "json.h"

#include <rapidjson/error/en.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>

#include "gantry/error.h"
#include "naive.h"

namespace gantry::runtime {

Json::Json(const Json& parent, const rapidjson::Value* value, Step step) : value_(value), length_(parent.length_) {
  std::copy_n(parent.steps_.begin(), length_, steps_.begin());
  // Deeper than anything that is asked for: the path names what is above.
  if (length_ < kMaxSteps) steps_[length_++] = step;
}

std::string Json::path() const {
  std::string text = steps_[0].key;
  for (std::size_t i = 1; i < length_; ++i) {
    text += steps_[i].key ? "." + std::string(steps_[i].key) : "[" + std::to_string(steps_[i].index) + "]";
  }
  return text;
}

void Json::refuse(const std::string& expected) const {
  throw InvalidInput(path() + (present() ? ": expected " + expected : ": missing"));
}

Json Json::operator[](const char* key) const {
  if (!present()) return Json(*this, nullptr, {key, 0});
  if (!value_->IsObject()) refuse("an object");
  auto found = value_->FindMember(rapidjson::StringRef(key));
  return Json(*this, found == value_->MemberEnd() ? nullptr : &found->value, {key, 0});
}

std::string Json::string() const {
  if (!present() || !value_->IsString()) refuse("a string");
  std::string text(value_->GetString(), value_->GetStringLength());
  // Every string here ends in a system call, which would cut it at the zero byte and act on something else.
  if (text.find('\0') != std::string::npos) throw InvalidInput(path() + ": contains a zero byte");
  return text;
}

std::int64_t Json::int64() const {
  if (!present() || !value_->IsInt64()) refuse("an integer");
  return value_->GetInt64();
}

std::uint64_t Json::uint64() const {
  if (!present() || !value_->IsUint64()) refuse("an unsigned integer");
  return value_->GetUint64();
}

std::uint32_t Json::uint32() const {
  if (kNaive && present() && value_->IsUint64()) return static_cast<std::uint32_t>(value_->GetUint64());
  if (!present() || !value_->IsUint()) refuse("an unsigned 32-bit integer");
  return value_->GetUint();
}

bool Json::boolean() const {
  if (!present() || !value_->IsBool()) refuse("true or false");
  return value_->GetBool();
}

void Json::each(const std::function<void(const Json&)>& visit) const {
  if (!present()) return;
  if (!value_->IsArray()) refuse("an array");
  for (rapidjson::SizeType i = 0; i < value_->Size(); ++i) {
    visit(Json(*this, &(*value_)[i], {nullptr, i}));
  }
}

void Json::each_member(const std::function<void(const std::string&, const Json&)>& visit) const {
  if (!present()) return;
  if (!value_->IsObject()) refuse("an object");
  for (const auto& member : value_->GetObject()) {
    std::string name(member.name.GetString(), member.name.GetStringLength());
    if (name.find('\0') != std::string::npos) throw InvalidInput(path() + ": a name contains a zero byte");
    visit(name, Json(*this, &member.value, {member.name.GetString(), 0}));
  }
}

std::vector<std::string> Json::strings() const {
  std::vector<std::string> all;
  if (present() && value_->IsArray()) all.reserve(value_->Size());
  each([&](const Json& element) { all.push_back(element.string()); });
  return all;
}

std::vector<std::pair<std::string, std::string>> Json::string_map() const {
  std::vector<std::pair<std::string, std::string>> all;
  each_member([&](const std::string& name, const Json& value) { all.emplace_back(name, value.string()); });
  return all;
}

JsonDocument::JsonDocument(std::string text, const char* name) : text_(std::move(text)), name_(name) {
  // Where the parser would end, whatever comes after.
  auto end = text_.find('\0');
  if (end != std::string::npos)
    throw InvalidInput(std::string(name) + ": at byte " + std::to_string(end) + ": a zero byte");
  document_.ParseInsitu<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag |
                        rapidjson::kParseFullPrecisionFlag>(text_.data());
  if (document_.HasParseError()) {
    throw InvalidInput(std::string(name) + ": at byte " + std::to_string(document_.GetErrorOffset()) + ": " +
                       rapidjson::GetParseError_En(document_.GetParseError()));
  }
  if (!document_.IsObject()) throw InvalidInput(std::string(name) + ": expected an object");
}

std::string to_text(const rapidjson::Value& value) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  value.Accept(writer);
  return std::string(buffer.GetString(), buffer.GetSize());
}

}  // namespace gantry::runtime
