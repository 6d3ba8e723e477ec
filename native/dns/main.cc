// gantry-dns SOCKET: the name server of all sandboxes of one daemon. What it is told is in PROTOCOL.md.

#include "companion.h"
#include "requests.h"

int main(int argc, char** argv) {
  return gantry::run_companion("gantry-dns", argc, argv,
                               [](gantry::Loop& loop) { return std::make_unique<gantry::dns::DnsRequests>(loop); });
}
