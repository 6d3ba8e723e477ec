// config.json and everything else that the runtime reads as JSON from outside: any bytes are a specification or a
// refusal in words.
#include <cstddef>
#include <cstdint>
#include <string>

#include "gantry/error.h"
#include "spec.h"

using namespace gantry;
using namespace gantry::runtime;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  try {
    Spec spec = parse_spec(text);
    // What was accepted is consistent enough for what is asked of it next.
    (void)spec.new_namespaces();
    if (spec.process && spec.process->args.empty()) __builtin_trap();
  } catch (const InvalidInput&) {
  }
  try {
    JsonDocument document(text, "process");
    (void)parse_process(document.root());
  } catch (const InvalidInput&) {
  }
  try {
    JsonDocument document(text, "resources");
    (void)parse_resources(document.root());
  } catch (const InvalidInput&) {
  }
  return 0;
}
