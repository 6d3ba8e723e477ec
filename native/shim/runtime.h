#pragma once

#include <sys/types.h>

#include "fields.h"
#include "process.h"

namespace shim {

/// The OCI runtime's command line, from the fields of the create request, which must live as long as the shim. False
/// when something is missing.
bool runtime_configure(const Fields& config);
const char* runtime_container_id();

/// Each starts the program and returns its pid, or -1 with errno.
pid_t runtime_create(const Process& process, const int fds[3]);
pid_t runtime_start();
pid_t runtime_exec(const Process& process, const int fds[3]);
pid_t runtime_delete();

/// Where the runtime is told to write a process' pid.
void pid_file_path(const Process& process, char* to, size_t size);

}  // namespace shim
