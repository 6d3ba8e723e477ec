"""A volume plugin that knows nothing of the engine's own kit: Python's standard library alone. Each volume is a tmpfs below
/mnt/volumes, mounted for its first user and unmounted after its last. MODE changes what it does when it starts."""
import ctypes
import http.server
import json
import os
import signal
import socketserver
import sys
import time

ROOT = "/mnt/volumes"
SOCKET = "/run/docker/plugins/python.sock"
volumes = {}
libc = ctypes.CDLL(None, use_errno=True)


def path(name):
    return os.path.join(ROOT, name)


def create(request):
    volumes.setdefault(request["Name"], {"users": 0, "options": request.get("Opts") or {}})


def remove(request):
    if request["Name"] not in volumes:
        raise KeyError(request["Name"])
    if volumes[request["Name"]]["users"] > 0:
        raise RuntimeError("in use")
    del volumes[request["Name"]]


def mount(request):
    volume = volumes[request["Name"]]
    where = path(request["Name"])
    if volume["users"] == 0:
        os.makedirs(where, exist_ok=True)
        if libc.mount(b"tmpfs", where.encode(), b"tmpfs", 0, None) != 0:
            raise OSError(ctypes.get_errno(), "mount " + where)
    volume["users"] += 1
    return {"Mountpoint": where}


def unmount(request):
    volume = volumes[request["Name"]]
    volume["users"] -= 1
    if volume["users"] == 0 and libc.umount2(path(request["Name"]).encode(), 2) != 0:
        raise OSError(ctypes.get_errno(), "umount")


def describe(name):
    return {"Name": name, "Mountpoint": path(name), "Status": {"version": os.environ.get("VERSION", "1"), "users": volumes[name]["users"]}}


METHODS = {
    "VolumeDriver.Create": create,
    "VolumeDriver.Remove": remove,
    "VolumeDriver.Mount": mount,
    "VolumeDriver.Unmount": unmount,
    "VolumeDriver.Path": lambda request: {"Mountpoint": path(request["Name"])},
    "VolumeDriver.Get": lambda request: {"Volume": describe(request["Name"])},
    "VolumeDriver.List": lambda request: {"Volumes": [describe(name) for name in volumes]},
    "VolumeDriver.Capabilities": lambda request: {"Capabilities": {"Scope": "local"}},
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        method = self.path.lstrip("/")
        try:
            answer = METHODS[method](json.loads(body or b"{}")) or {}
        except Exception as error:
            answer = {"Err": "%s: %s" % (type(error).__name__, error)}
        sys.stderr.write("%s %s\n" % (method, json.dumps(answer)))
        sys.stderr.flush()
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self):
        return "engine"

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    # As the first process of its namespace it would not get a signal that it has no handler for.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    mode = os.environ.get("MODE", "")
    sys.stderr.write("version %s starts\n" % os.environ.get("VERSION", "1"))
    sys.stderr.flush()
    if mode == "crash":
        sys.exit("the config is wrong: no such server")
    if mode == "silent":
        time.sleep(1000)
    socketserver.ThreadingUnixStreamServer(SOCKET, Handler).serve_forever()
