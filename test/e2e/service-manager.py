"""Stands in for systemd: listens at NOTIFY_SOCKET, hands over a socket as descriptor 3, and becomes what it starts.

usage: service-manager.py API-SOCKET LOG COMMAND...; what the daemon says is appended to LOG, a line each.
"""
import os
import socket
import sys

api, log, command = sys.argv[1], sys.argv[2], sys.argv[3:]

listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(api)
listener.listen(64)

# An abstract name, which nothing has to remove.
name = "gantry-notify-%d" % os.getpid()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind("\0" + name)

daemon = os.getpid()
if os.fork() == 0:
    listener.close()
    notify.settimeout(0.2)
    while os.getppid() == daemon:
        try:
            said = notify.recv(4096).decode()
        except socket.timeout:
            continue
        with open(log, "a") as out:
            out.write(said.replace("\n", " ") + "\n")
    os._exit(0)

if listener.fileno() != 3:
    os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(NOTIFY_SOCKET="@" + name, LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(command[0], command)
