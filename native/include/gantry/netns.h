#pragma once

#include <string>

namespace gantry {

/// Makes a network namespace and keeps it by a bind mount on the file `path`, which is made here (its folder exists).
/// The calling thread stays in the new namespace, so it must be one that ends after this. Loopback is up; links that
/// come later have IPv6 off until somebody turns it on. Fails with EEXIST when the file exists.
void create_namespace(const std::string& path);

/// Takes the mount and the file away; absent is fine. What still uses the namespace keeps it alive.
void remove_namespace(const std::string& path);

/// Moves the calling thread, which must be one that ends soon, into the namespace at `path`; '' stays.
void enter_namespace(const std::string& path);

/// Writes below /proc/sys/net of the calling thread's namespace. `key` is like `ipv4/conf/all/forwarding`; dots in a
/// link's name are safe since the parts are separated by slashes. Parts `.` and `..` are refused.
void write_sysctl(const std::string& key, const std::string& value);

}  // namespace gantry
