#pragma once

#include <cstddef>
#include <cstdint>

namespace gantry {

/// How records of a json-file log are written out for a client, and which.
struct LogForm {
  /// Each line behind Docker's 8-byte head of stream and length.
  bool framed = true;
  /// Each line behind its time, nine digits of a second, and a space.
  bool timestamps = false;
  bool out = true;
  bool err = true;
  /// Nanoseconds since 1970, both inclusive.
  int64_t since = INT64_MIN;
  int64_t until = INT64_MAX;
};

struct LogRun {
  /// Bytes of the records that were read. Behind them stands a record that has not ended, or one that is not of the
  /// usual shape, which the caller has to read another way; or, with `past`, one that came after `until`.
  size_t taken = 0;
  /// Bytes written.
  size_t written = 0;
  /// The last record's time; 0 when there was none.
  int64_t last = 0;
  bool past = false;
};

/// What pack_log may write past the size of its input.
constexpr size_t kLogSlack = 16;

/// Writes the lines of whole records to `to`, which has room for `size` + kLogSlack bytes: a record is always longer
/// than what it becomes. Takes any bytes; never throws.
LogRun pack_log(const uint8_t* from, size_t size, const LogForm& form, uint8_t* to);

}  // namespace gantry
