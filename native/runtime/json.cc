#include "json.h"

#include <rapidjson/error/en.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "gantry/error.h"
#include "naive.h"

namespace gantry::runtime {

void Json::refuse(const std::string& expected) const {
  throw InvalidInput(path_ + (present() ? ": expected " + expected : ": missing"));
}

Json Json::operator[](const char* key) const {
  std::string path = path_ + "." + key;
  if (!present()) return Json(nullptr, std::move(path));
  if (!value_->IsObject()) refuse("an object");
  auto found = value_->FindMember(key);
  return Json(found == value_->MemberEnd() ? nullptr : &found->value, std::move(path));
}

std::string Json::string() const {
  if (!present() || !value_->IsString()) refuse("a string");
  std::string text(value_->GetString(), value_->GetStringLength());
  // Every string here ends in a system call, which would cut it at the zero byte and act on something else.
  if (text.find('\0') != std::string::npos) throw InvalidInput(path_ + ": contains a zero byte");
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
    visit(Json(&(*value_)[i], path_ + "[" + std::to_string(i) + "]"));
  }
}

void Json::each_member(const std::function<void(const std::string&, const Json&)>& visit) const {
  if (!present()) return;
  if (!value_->IsObject()) refuse("an object");
  for (const auto& member : value_->GetObject()) {
    std::string name(member.name.GetString(), member.name.GetStringLength());
    if (name.find('\0') != std::string::npos) throw InvalidInput(path_ + ": a name contains a zero byte");
    visit(name, Json(&member.value, path_ + "." + name));
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

rapidjson::Document parse_json(std::string_view text, const std::string& name) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag |
                 rapidjson::kParseFullPrecisionFlag>(text.data(), text.size());
  if (document.HasParseError()) {
    throw InvalidInput(name + ": at byte " + std::to_string(document.GetErrorOffset()) + ": " +
                       rapidjson::GetParseError_En(document.GetParseError()));
  }
  if (!document.IsObject()) throw InvalidInput(name + ": expected an object");
  return document;
}

std::string to_text(const rapidjson::Value& value) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  value.Accept(writer);
  return std::string(buffer.GetString(), buffer.GetSize());
}

}  // namespace gantry::runtime
