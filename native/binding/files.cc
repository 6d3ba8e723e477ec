#include "task.h"

namespace gantry::binding {

void init_files(Napi::Env, Napi::Object) {}

}  // namespace gantry::binding
