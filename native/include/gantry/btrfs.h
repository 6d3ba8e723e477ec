#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "gantry/tree_changes.h"

namespace gantry {

/// The number by which the file system knows an open subvolume; EINVAL for what is none. `path` is for the message.
uint64_t subvolume_id(int fd, const std::string& path);

/// Makes an empty subvolume at `path`, in a folder that exists.
void create_subvolume(const std::string& path);

/// Makes `to` a snapshot of the subvolume `from`. Subvolumes inside `from` are empty folders in it.
void snapshot_subvolume(const std::string& from, const std::string& to, bool read_only);

/// Deletes a subvolume and those that were made inside it; the kernel gives the space back later. Absent is fine.
void remove_subvolume(const std::string& path);

/// Whether a subvolume has others inside it, which no snapshot of it shows.
bool has_inner_subvolumes(const std::string& path);

/// Switches quotas on for the whole file system that holds `path`, when they are off, and waits for the first count.
void enable_subvolume_quotas(const std::string& path);

/// Limits what the subvolume may hold alone, not shared with others, in bytes. Past it writers get EDQUOT.
void limit_subvolume(const std::string& path, uint64_t bytes);

/// The transaction in which the subvolume `tree` was made as a snapshot of `parent`; nullopt when it was not.
std::optional<uint64_t> branched_at(const std::string& tree, const std::string& parent);

/// What a snapshot may have else than what it came from, found in the file system's own trees: what was not written
/// after the transaction `since`, in which they parted, is not read. `tree` is a
/// read-only snapshot, made just now, of the subvolume that branched from `parent`: making it brought all that was
/// written before into the trees.
KnownChanges changed_since(const std::string& tree, const std::string& parent, uint64_t since);

}  // namespace gantry
