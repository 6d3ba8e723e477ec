#pragma once

#include <stdint.h>

/// The wire between the shim and its clients; PROTOCOL.md is its description and drivers/runtime/shim-protocol.ts its
/// other end.
namespace shim {

constexpr uint32_t kProtocolVersion = 1;

/// All numbers are little-endian.
struct FrameHeader {
  /// Bytes of payload after the header.
  uint32_t size;
  uint16_t type;
  uint16_t flags;
  /// Chosen by the client; an answer carries its question's.
  uint32_t tag;
};
static_assert(sizeof(FrameHeader) == 12);

constexpr uint32_t kMaxPayload = 256 * 1024;
constexpr uint32_t kMaxStdinPayload = 64 * 1024;
constexpr uint32_t kOutputChunk = 64 * 1024;

enum FrameType : uint16_t {
  kHello = 1,
  kCreate = 2,
  kState = 3,
  kStart = 4,
  kAttach = 5,
  kStdin = 6,
  kCloseStdin = 7,
  kResize = 8,
  kKill = 9,
  kExec = 10,
  kDelete = 11,

  kOk = 128,
  kError = 129,
  kOutput = 130,
  kEnd = 131,
  kExit = 132,
};

enum StreamFlag : uint16_t { kWantStdin = 1, kWantStdout = 2, kWantStderr = 4 };

enum ErrorReason : uint32_t {
  /// The frame makes no sense here.
  kReasonProtocol = 1,
  /// Not possible in this state.
  kReasonConflict = 2,
  /// No such process.
  kReasonNotFound = 3,
  /// The runtime failed; its log has the words, the text is what it printed.
  kReasonRuntime = 4,
  /// A system call failed.
  kReasonSystem = 5,
};

constexpr uint16_t kExitOomKilled = 1;

}  // namespace shim
