// gantry-proxy SOCKET: the published ports of one daemon that the kernel cannot translate. What it is told is in
// PROTOCOL.md.

#include "companion.h"
#include "requests.h"

int main(int argc, char** argv) {
  return gantry::run_companion("gantry-proxy", argc, argv,
                               [](gantry::Loop& loop) { return std::make_unique<gantry::proxy::ProxyRequests>(loop); });
}
