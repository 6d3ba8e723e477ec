#pragma once

#include "client.h"

namespace shim {

/// Does what one frame asks; false when it cannot be taken now and is to be given again when the process takes input.
/// The payload is the client's buffer and gone afterwards. The client may be closed on return.
bool handle_frame(Client& client, const FrameHeader& header, const uint8_t* payload);

}  // namespace shim
