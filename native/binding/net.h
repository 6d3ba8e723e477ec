#pragma once

#include <napi.h>

#include <string>

namespace gantry::binding {

/// A member as text, a number written out; '' when absent.
std::string text_of(const Napi::Object& object, const char* key);
/// A member that is true; false when absent.
bool flag_of(const Napi::Object& object, const char* key);

void init_nft(Napi::Env env, Napi::Object exports);

}  // namespace gantry::binding
