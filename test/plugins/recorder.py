"""A plugin of every kind in one program, written against the protocol alone, with Python's standard library.

It does what it is asked for, and writes every call that it gets to a file, one JSON object to a line:
    recorder.py --socket /run/docker/plugins/NAME.sock --state FOLDER --calls FILE --kinds VolumeDriver,NetworkDriver
"""

import argparse
import base64
import json
import os
import shutil
import socketserver
import struct
import subprocess
import tarfile
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler

LOCK = threading.RLock()


class Refused(Exception):
    pass


class State:
    """A JSON file that survives the plugin."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.path = os.path.join(folder, "state.json")
        self.data = {}
        if os.path.exists(self.path):
            with open(self.path) as file:
                self.data = json.load(file)

    def table(self, name):
        return self.data.setdefault(name, {})

    def save(self):
        with open(self.path + ".new", "w") as file:
            json.dump(self.data, file)
        os.replace(self.path + ".new", self.path)


class Volumes:
    """Folders; a volume counts its mounts."""

    def __init__(self, state):
        self.state = state
        self.volumes = state.table("volumes")

    def place(self, name):
        return os.path.join(self.state.folder, "volumes", name)

    def shown(self, name):
        if name not in self.volumes:
            raise Refused("no such volume: " + name)
        mounted = self.volumes[name]["mounts"] > 0
        return {"Name": name, "Mountpoint": self.place(name) if mounted else "", "Status": {"mounts": self.volumes[name]["mounts"]}}

    def Create(self, call):
        if call["Name"] not in self.volumes:
            os.makedirs(self.place(call["Name"]), exist_ok=True)
            self.volumes[call["Name"]] = {"mounts": 0, "options": call.get("Opts") or {}}
        return {"Err": ""}

    def Remove(self, call):
        self.shown(call["Name"])
        shutil.rmtree(self.place(call["Name"]), ignore_errors=True)
        del self.volumes[call["Name"]]
        return {"Err": ""}

    def Mount(self, call):
        self.shown(call["Name"])
        self.volumes[call["Name"]]["mounts"] += 1
        return {"Mountpoint": self.place(call["Name"]), "Err": ""}

    def Unmount(self, call):
        self.shown(call["Name"])
        self.volumes[call["Name"]]["mounts"] -= 1
        return {"Err": ""}

    def Path(self, call):
        self.shown(call["Name"])
        return {"Mountpoint": self.place(call["Name"]), "Err": ""}

    def Get(self, call):
        return {"Volume": self.shown(call["Name"]), "Err": ""}

    def List(self, call):
        return {"Volumes": [self.shown(name) for name in sorted(self.volumes)], "Err": ""}

    def Capabilities(self, call):
        return {"Capabilities": {"Scope": "local"}}


def ip(*words):
    done = subprocess.run(("ip",) + words, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused("ip %s: %s" % (" ".join(words), done.stderr.strip()))


class Networks:
    """Each endpoint is a pair of links; the outer end gets the gateway's address."""

    def __init__(self, state):
        self.networks = state.table("networks")
        self.endpoints = state.table("endpoints")

    def GetCapabilities(self, call):
        return {"Scope": "local", "ConnectivityScope": "local"}

    def CreateNetwork(self, call):
        given = (call.get("Options") or {}).get("com.docker.network.generic") or {}
        ours = call["IPv4Data"][0]
        # The option says who sees to the way out: "plugin", "engine" or "nobody".
        out = given.get("way-out", "plugin")
        self.networks[call["NetworkID"]] = {"gateway": ours["Gateway"], "pool": ours["Pool"], "out": out}
        return {}

    def DeleteNetwork(self, call):
        self.networks.pop(call["NetworkID"], None)
        return {}

    def CreateEndpoint(self, call):
        self.endpoints[call["EndpointID"]] = {"network": call["NetworkID"]}
        if call["Interface"].get("MacAddress"):
            return {}
        tail = ":".join(call["EndpointID"][i : i + 2] for i in range(0, 8, 2))
        return {"Interface": {"MacAddress": "02:42:" + tail}}

    def DeleteEndpoint(self, call):
        self.endpoints.pop(call["EndpointID"], None)
        return {}

    def EndpointOperInfo(self, call):
        return {"Value": {}}

    def links(self, call):
        return "grec" + call["EndpointID"][:7], "crec" + call["EndpointID"][:7]

    def Join(self, call):
        network = self.networks[call["NetworkID"]]
        gateway = network["gateway"]
        outer, inner = self.links(call)
        ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        ip("addr", "add", gateway, "dev", outer)
        ip("link", "set", outer, "up")
        answer = {"InterfaceName": {"SrcName": inner, "DstPrefix": "rec"}}
        if network["out"] == "plugin":
            answer["Gateway"] = gateway.split("/")[0]
        if network["out"] == "nobody":
            answer["DisableGatewayService"] = True
        return answer

    def Leave(self, call):
        subprocess.run(("ip", "link", "del", self.links(call)[0]), capture_output=True)
        return {}

    def ProgramExternalConnectivity(self, call):
        return {}

    def RevokeExternalConnectivity(self, call):
        return {}


class Addresses:
    """One pool of 256 after the other, and addresses in their order."""

    def __init__(self, state):
        self.pools = state.table("pools")

    def GetCapabilities(self, call):
        return {"RequiresMACAddress": False, "RequiresRequestReplay": True}

    def GetDefaultAddressSpaces(self, call):
        return {"LocalDefaultAddressSpace": "recorded", "GlobalDefaultAddressSpace": "recorded-global"}

    def RequestPool(self, call):
        pool = call["Pool"] or next(p for p in ("10.207.%d.0/24" % n for n in range(256)) if "pool-" + p not in self.pools)
        self.pools.setdefault("pool-" + pool, {"leases": []})
        return {"PoolID": "pool-" + pool, "Pool": pool, "Data": {}}

    def ReleasePool(self, call):
        if self.pools.pop(call["PoolID"], None) is None:
            raise Refused("no such pool")
        return {}

    def RequestAddress(self, call):
        pool = self.pools[call["PoolID"]]
        network, prefix = call["PoolID"][len("pool-") :].split("/")
        base = network.rsplit(".", 1)[0]
        wanted = call["Address"] or next(a for a in ("%s.%d" % (base, n) for n in range(1, 255)) if a not in pool["leases"])
        if wanted not in pool["leases"]:
            pool["leases"].append(wanted)
        return {"Address": wanted + "/" + prefix, "Data": {}}

    def ReleaseAddress(self, call):
        pool = self.pools.get(call["PoolID"], {"leases": []})
        if call["Address"] in pool["leases"]:
            pool["leases"].remove(call["Address"])
        return {}


class Logs:
    """Frames go to a file as they are, so that they can be read back."""

    def __init__(self, state):
        self.folder = state.folder
        self.streams = {}

    def Capabilities(self, call):
        return {"Cap": {"ReadLogs": True}}

    def place(self, info):
        return os.path.join(self.folder, "log-" + info["ContainerID"])

    def StartLogging(self, call):
        fifo = os.open(call["File"], os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(fifo, True)
        stop = threading.Event()
        thread = threading.Thread(target=self.copy, args=(fifo, self.place(call["Info"]), stop), daemon=True)
        thread.start()
        self.streams[call["File"]] = (stop, thread)
        return {"Err": ""}

    def copy(self, fifo, place, stop):
        os.set_blocking(fifo, False)
        with open(place, "ab", buffering=0) as log:
            while True:
                ending = stop.is_set()
                try:
                    chunk = os.read(fifo, 65536)
                except BlockingIOError:
                    chunk = b""
                log.write(chunk)
                if not chunk:
                    if ending:
                        break
                    stop.wait(0.01)
        os.close(fifo)

    def ReadLogs(self, stream, call):
        with open(self.place(call["Info"]), "rb") as log:
            frames = log.read()
        at, kept = 0, []
        while at < len(frames):
            (size,) = struct.unpack_from(">I", frames, at)
            kept.append(frames[at : at + 4 + size])
            at += 4 + size
        tail = call["Config"]["Tail"]
        stream.write(b"".join(kept if tail < 0 else kept[len(kept) - min(tail, len(kept)) :]))

    def StopLogging(self, call):
        stop, thread = self.streams.pop(call["File"], (None, None))
        if stop:
            stop.set()
            thread.join()
        return {"Err": ""}


class Access:
    """Lets everything pass but what the policy file names: `METHOD path` to a line."""

    def __init__(self, state):
        self.policy = os.path.join(state.folder, "policy")

    def AuthZReq(self, call):
        try:
            with open(self.policy) as file:
                denied = file.read().split("\n")
        except FileNotFoundError:
            denied = []
        body = json.loads(base64.b64decode(call["RequestBody"])) if call.get("RequestBody") else {}
        path = call["RequestUri"].split("?")[0]
        if call["RequestMethod"] + " " + path in denied:
            return {"Allow": False, "Msg": "the policy says no"}
        if "privileged" in denied and body.get("HostConfig", {}).get("Privileged"):
            return {"Allow": False, "Msg": "no privileged containers"}
        return {"Allow": True}

    def AuthZRes(self, call):
        return {"Allow": True}


class Layers:
    """Whole trees, as the simplest of storage drivers has them. Archives are read and written by tarfile."""

    def __init__(self, state):
        self.layers = state.table("layers")
        self.folder = os.path.join(state.folder, "layers")

    def place(self, id):
        return os.path.join(self.folder, id)

    def Init(self, call):
        os.makedirs(self.folder, exist_ok=True)
        return {}

    def Create(self, call):
        parent = call.get("Parent")
        if parent:
            subprocess.run(("cp", "-a", self.place(parent), self.place(call["ID"])), check=True)
        else:
            os.makedirs(self.place(call["ID"]), 0o755)
        self.layers[call["ID"]] = parent or ""
        return {}

    CreateReadWrite = Create

    def Remove(self, call):
        shutil.rmtree(self.place(call["ID"]), ignore_errors=True)
        self.layers.pop(call["ID"], None)
        return {}

    def Get(self, call):
        if call["ID"] not in self.layers:
            raise Refused("no such layer")
        return {"Dir": self.place(call["ID"])}

    def Put(self, call):
        return {}

    def Exists(self, call):
        return {"Exists": call["ID"] in self.layers}

    def Status(self, call):
        return {"Status": [["Layers", str(len(self.layers))]]}

    def GetMetadata(self, call):
        return {"Metadata": {}}

    def Cleanup(self, call):
        return {}

    def ApplyDiff(self, stream, query):
        before = self.size(query["id"])
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = os.path.basename(member.name)
                if name.startswith(".wh."):
                    gone = os.path.join(self.place(query["id"]), os.path.dirname(member.name), name[len(".wh.") :])
                    shutil.rmtree(gone, ignore_errors=True) if os.path.isdir(gone) else os.path.lexists(gone) and os.unlink(gone)
                else:
                    archive.extract(member, self.place(query["id"]), numeric_owner=True)
        return {"Size": self.size(query["id"]) - before}

    def size(self, id):
        return sum(os.lstat(os.path.join(f, n)).st_size for f, _, names in os.walk(self.place(id)) for n in names)

    def tree(self, id):
        found = {}
        for folder, folders, names in os.walk(self.place(id)) if id else ():
            for name in folders + names:
                path = os.path.join(folder, name)
                stat = os.lstat(path)
                found[os.path.relpath(path, self.place(id))] = (stat.st_mode, stat.st_size if not os.path.isdir(path) else 0, int(stat.st_mtime))
        return found

    def Changes(self, call):
        mine, theirs = self.tree(call["ID"]), self.tree(call.get("Parent"))
        changes = [{"Path": "/" + p, "Kind": 1 if p not in theirs else 0} for p in mine if theirs.get(p) != mine[p]]
        changes += [{"Path": "/" + p, "Kind": 2} for p in theirs if p not in mine]
        return {"Changes": sorted(changes, key=lambda change: change["Path"])}

    def Diff(self, stream, call):
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for change in self.Changes(call)["Changes"]:
                path = change["Path"][1:]
                if change["Kind"] == 2:
                    folder, name = os.path.split(path)
                    archive.addfile(tarfile.TarInfo(os.path.join(folder, ".wh." + name)))
                else:
                    archive.add(os.path.join(self.place(call["ID"]), path), path, recursive=False)

    def DiffSize(self, call):
        return {"Size": max(0, self.size(call["ID"]) - (self.size(call["Parent"]) if call.get("Parent") else 0))}


class Metrics:
    """Says that it begins and ends, and reads nothing."""

    def __init__(self, state):
        self.begun = 0

    def StartMetrics(self, call):
        self.begun += 1
        return {}

    def StopMetrics(self, call):
        return {}


KINDS = {
    "VolumeDriver": ("VolumeDriver", Volumes),
    "NetworkDriver": ("NetworkDriver", Networks),
    "IpamDriver": ("IpamDriver", Addresses),
    "LogDriver": ("LogDriver", Logs),
    "GraphDriver": ("GraphDriver", Layers),
    "authz": ("AuthZPlugin", Access),
    "MetricsCollector": ("MetricsCollector", Metrics),
}


class Chunked:
    """The body of a request, whichever way its length is told."""

    def __init__(self, handler):
        self.file = handler.rfile
        self.chunked = handler.headers.get("Transfer-Encoding", "").lower() == "chunked"
        self.left = 0 if self.chunked else int(handler.headers.get("Content-Length") or 0)
        self.ended = not self.chunked and self.left == 0

    def read(self, size=-1):
        parts = []
        while size != 0 and not self.ended:
            if self.left == 0:
                line = self.file.readline().strip() or self.file.readline().strip()
                self.left = int(line, 16)
                if self.left == 0:
                    self.file.readline()
                    self.ended = True
                    break
            part = self.file.read(min(self.left, size) if size > 0 else self.left)
            self.left -= len(part)
            if size > 0:
                size -= len(part)
            parts.append(part)
            if not self.chunked and self.left == 0:
                self.ended = True
        return b"".join(parts)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        url = urllib.parse.urlsplit(self.path)
        subject, _, name = url.path[1:].partition(".")
        body = Chunked(self)
        record = {"method": url.path[1:]}
        try:
            if name == "Activate":
                answer = {"Implements": self.server.kinds}
                body.read()
            else:
                part = self.server.parts.get(subject)
                act = getattr(part, name, None)
                if act is None:
                    self.note(record, body.read())
                    return self.answer(404, {"Err": "no such method"})
                if name == "ApplyDiff":
                    query = dict(urllib.parse.parse_qsl(url.query))
                    record["query"] = query
                    answer = act(body, query)
                    body.read()
                else:
                    raw = body.read()
                    call = self.note(record, raw)
                    if name in ("Diff", "ReadLogs"):
                        self.send_response(200)
                        self.end_headers()
                        return act(self.wfile, call)
                    with LOCK:
                        answer = act(call)
                        self.server.state.save()
                    record = None
            if record is not None:
                self.note(record, b"")
            self.answer(200, answer)
        except Refused as refused:
            self.answer(200, {"Error" if subject == "IpamDriver" else "Err": str(refused)})
        except Exception as error:
            self.answer(500, {"Err": "%s: %s" % (type(error).__name__, error)})

    def note(self, record, raw):
        call = json.loads(raw) if raw else {}
        with LOCK, open(self.server.calls, "a") as file:
            file.write(json.dumps({**record, "empty": not raw, "request": call}) + "\n")
        return call

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.docker.plugins.v1.1+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words):
        pass

    def address_string(self):
        return "engine"


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass


def main():
    options = argparse.ArgumentParser()
    for name in ("socket", "state", "calls", "kinds"):
        options.add_argument("--" + name, required=True)
    chosen = options.parse_args()
    os.makedirs(os.path.dirname(chosen.socket), exist_ok=True)
    if os.path.exists(chosen.socket):
        os.unlink(chosen.socket)
    server = Server(chosen.socket, Handler)
    server.state = State(chosen.state)
    server.calls = chosen.calls
    server.kinds = chosen.kinds.split(",")
    server.parts = {KINDS[kind][0]: KINDS[kind][1](server.state) for kind in server.kinds}
    print("serving", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
