#include "errno_text.h"

#include <cctype>
#include <cstring>

#include "gantry/error.h"

namespace gantry::runtime {

std::string errno_text(int err) {
  // Clients match Go's spelling, which is the C library's with a small first letter.
  const char* known = ::strerrordesc_np(err);
  if (!known) return "errno " + std::to_string(err);
  std::string text = known;
  // "RFS specific error" and the like keep their capitals.
  if (text.size() > 1 && std::isupper(static_cast<unsigned char>(text[0])) &&
      !std::isupper(static_cast<unsigned char>(text[1]))) {
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  }
  return text;
}

std::string describe(const std::exception& error) {
  const auto* sys = dynamic_cast<const SysError*>(&error);
  if (!sys) return error.what();
  std::string text = sys->operation();
  if (!sys->path().empty()) text += " " + sys->path();
  return text + ": " + errno_text(sys->err());
}

}  // namespace gantry::runtime
