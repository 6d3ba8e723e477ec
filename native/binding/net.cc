#include "task.h"

namespace gantry::binding {

void init_net(Napi::Env, Napi::Object) {}

}  // namespace gantry::binding
