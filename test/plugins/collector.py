"""A metrics collector that knows nothing of the engine's own kit: Python's standard library alone. Told to begin, it reads the
engine's metrics once and keeps them; each call that it gets is a line of its journal."""
import argparse
import http.client
import http.server
import json
import os
import signal
import socket
import socketserver

options = argparse.ArgumentParser()
options.add_argument("--socket", required=True)
options.add_argument("--metrics", default="/run/docker/metrics.sock")
options.add_argument("--journal", required=True)
options = options.parse_args()


class Engine(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(options.metrics)


def scrape():
    engine = Engine("engine")
    engine.request("GET", "/metrics")
    answer = engine.getresponse()
    return {"status": answer.status, "type": answer.getheader("Content-Type"), "text": answer.read().decode()}


def note(entry):
    with open(options.journal, "a") as journal:
        journal.write(json.dumps(entry) + "\n")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        method = self.path[1:]
        entry = {"method": method, "empty": body == b""}
        answer = {}
        if method == "Plugin.Activate":
            answer = {"Implements": ["MetricsCollector"]}
        elif method == "MetricsCollector.StartMetrics":
            try:
                entry["seen"] = scrape()
            except OSError as error:
                entry["error"] = str(error)
                answer = {"Err": str(error)}
        note(entry)
        bytes = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.docker.plugins.v1+json")
        self.send_header("Content-Length", str(len(bytes)))
        self.end_headers()
        self.wfile.write(bytes)

    def address_string(self):
        return "engine"

    def log_message(self, *arguments):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


# As the first process of a container it gets no signal that it does not ask for.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
if os.path.exists(options.socket):
    os.unlink(options.socket)
Server(options.socket, Handler).serve_forever()
