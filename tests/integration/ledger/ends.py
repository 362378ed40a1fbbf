"""A worker of the ledger's tests: answers `hello` to a line, nothing to a line that begins with `wait`, and on SIGTERM
ends at once, with exit code 0 or, with --badly, as a program without a handler does that restores the terminal first.
"""
import os
import signal
import socket
import sys
import threading


def serve(peer):
    for line in peer.makefile("rb"):
        if not line.startswith(b"wait"):
            peer.sendall(b"hello\n")


def terminate(*_):
    if "--badly" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    os._exit(0)


signal.signal(signal.SIGTERM, terminate)
listener = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])), backlog=128)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
