#include "task.h"

namespace gantry::binding {

void init_process(Napi::Env, Napi::Object) {}

}  // namespace gantry::binding
