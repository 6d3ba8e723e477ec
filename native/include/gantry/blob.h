#pragma once

#include <cstdint>
#include <string>

#include "gantry/digest.h"

namespace gantry {

/// Reads `fd` to its end into the new file `path`, hashing on the way; the file is synced when this returns and gone
/// when it throws. With `tee` >= 0 the same bytes go there too, until its reader leaves; the caller closes it. Past
/// `limit` bytes it is InvalidInput.
Digested ingest(int fd, const std::string& path, uint64_t limit, int tee);

/// Digest and size of what `fd` holds after decompression.
Digested hash_uncompressed(int fd);

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
