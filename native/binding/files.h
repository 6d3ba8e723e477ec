#pragma once

#include <napi.h>

#include <cstdint>
#include <optional>
#include <string>

namespace gantry::binding {

/// The part of the file calls that reads and writes archives and blobs.
void init_archives(Napi::Env env, Napi::Object exports);

Napi::Value size_to_js(Napi::Env env, uint64_t& size);
Napi::Value flag_to_js(Napi::Env env, bool& flag);
Napi::Value optional_bytes_to_js(Napi::Env env, std::optional<std::string>& bytes);

}  // namespace gantry::binding
