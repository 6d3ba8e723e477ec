#pragma once

namespace shim {

/// Gzips `from` into `to` and removes `from`, in a child of lowest priority, so that output goes on meanwhile. One at a
/// time: settle first. On failure `from` stays.
void compress_start(const char* from, const char* to);
/// Waits for the child, if there is one.
void compress_settle();

}  // namespace shim
