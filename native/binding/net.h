#pragma once

#include <napi.h>

#include <cstdint>
#include <string>

namespace gantry::binding {

/// A member as text, a number written out; '' when absent.
std::string text_of(const Napi::Object& object, const char* key);
/// A member that is a number; 0 when absent.
uint32_t number_of(const Napi::Object& object, const char* key);
/// A member that is true; false when absent.
bool flag_of(const Napi::Object& object, const char* key);

/// Weak: parts that a build without the drivers that need them does not have.
[[gnu::weak]] void init_nft(Napi::Env env, Napi::Object exports);
[[gnu::weak]] void init_flows(Napi::Env env, Napi::Object exports);
[[gnu::weak]] void init_xfrm(Napi::Env env, Napi::Object exports);

}  // namespace gantry::binding
