// The two sources of the floor program.
#pragma once

/// Ends the program with the text of errno.
_Noreturn void fail(const char* what);

/// On cgroup v2: lets the cgroup use the devices that Docker lets a container use, and no others.
void attach_device_program(int cgroup);
