#pragma once

#include <cstdint>
#include <string>

#include "gantry/digest.h"
#include "gantry/fd.h"

namespace gantry {

/// Reads `fd` to its end into the new file `path`, hashing on the way; the file is synced when this returns and gone
/// when it throws. With a `tee`, a pipe, the same bytes go there too, from the first on and at its reader's pace: a
/// slow reader does not hold up the file, and may go on after this returned. It is closed after the last byte, when its
/// reader leaves, and early when this throws. Past `limit` bytes it is InvalidInput.
Digested ingest(int fd, const std::string& path, uint64_t limit, UniqueFd tee);

/// Lets a pipe hold more, for fewer turns between its two ends. Does nothing with what is no pipe.
void widen_pipe(int fd) noexcept;

/// Digest and size of what `fd` holds after decompression.
Digested hash_uncompressed(int fd);

/// Writes into `to` what `from` holds after decompression.
void decompress(int from, int to);

enum class Compression { none, gzip, zstd };

struct Compressed {
  Digested compressed;
  Digested uncompressed;
};

/// Compresses all of `from` into `to`.
Compressed compress(int from, int to, Compression compression);

/// All of it, or SysError.
void write_all(int fd, const void* data, size_t size);

}  // namespace gantry
