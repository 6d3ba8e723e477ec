#include "task.h"

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  gantry::binding::init_tasks(env);
  gantry::binding::init_files(env, exports);
  gantry::binding::init_logs(env, exports);
  gantry::binding::init_net(env, exports);
  gantry::binding::init_process(env, exports);
  return exports;
}

NODE_API_MODULE(gantry, init)
