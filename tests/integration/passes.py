"""Passes listening sockets to a program as systemd does: passes.py NAME=ADDRESS... -- PROGRAM ARGUMENT...

ADDRESS is HOST:PORT, a path, or `udp` for a socket that nobody can listen on. PASS_AS names another process than the
program's own.
"""

import fcntl
import os
import socket
import sys

FIRST = 3


def listener(address):
    if address == "udp":
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if address.startswith("/"):
        made = socket.socket(socket.AF_UNIX)
        made.bind(address)
    else:
        host, port = address.rsplit(":", 1)
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, int(port)))
    made.listen(64)
    return made


split = sys.argv.index("--")
pairs = [pair.split("=", 1) for pair in sys.argv[1:split]]
# Out of the way first: their own numbers may be among those that are wanted.
sockets = [fcntl.fcntl(listener(address).detach(), fcntl.F_DUPFD_CLOEXEC, 100) for _, address in pairs]
for number, made in enumerate(sockets, FIRST):
    os.dup2(made, number, inheritable=True)
os.environ["LISTEN_FDS"] = str(len(pairs))
os.environ["LISTEN_FDNAMES"] = ":".join(name for name, _ in pairs)
os.environ["LISTEN_PID"] = os.environ.pop("PASS_AS", str(os.getpid()))
os.execvp(sys.argv[split + 1], sys.argv[split + 1 :])
