#pragma once

#include <napi.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gantry/digest.h"
#include "gantry/tree_changes.h"

namespace gantry::binding {

/// The part of the file calls that reads and writes archives and blobs.
void init_archives(Napi::Env env, Napi::Object exports);
/// What one kind of file system can do: subvolumes, quotas of projects.
void init_storage(Napi::Env env, Napi::Object exports);
/// Weak: a build without a driver for btrfs does not have it.
[[gnu::weak]] void init_subvolumes(Napi::Env env, Napi::Object exports);

Napi::Value size_to_js(Napi::Env env, uint64_t& size);
Napi::Value flag_to_js(Napi::Env env, bool& flag);
Napi::Value optional_bytes_to_js(Napi::Env env, std::optional<std::string>& bytes);
Napi::Value digested_value(Napi::Env env, Digested& digested);
Napi::Value changes_to_js(Napi::Env env, std::vector<Change>& changes);

}  // namespace gantry::binding
