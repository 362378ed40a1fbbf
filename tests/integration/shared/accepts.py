"""Accepts on the descriptors it inherits in the plainest way: a blocking accept, one connection at a time on each.

  /shutdown  it shuts the listener down, for all who hold it
  /nonblock  it makes the listener non-blocking, for all who hold it
  /slow/MS   it waits
  /echo      it sends the request's body back
  /quick     python/SLOT PID on DESCRIPTOR
  other      the same, after 2 ms: several clients keep all workers busy

An accept that fails is tried again; with --brittle the process ends with 4 instead. Half a request ends it with 5.
"""
import fcntl
import os
import signal
import socket
import sys
import threading
import time

FIRST = 3
SLOT = os.environ["ROUNDELAY_WORKER"]


def read(client):
    """The path and the body of a request."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(65536) or os._exit(5)
    head, body = data.split(b"\r\n\r\n", 1)
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields.get(b"content-length", 0))
    while len(body) < length:
        body += client.recv(65536) or os._exit(5)
    return head.split()[1].decode(), body


def answer(client, listener):
    path, body = read(client)
    text = f"python/{SLOT} {os.getpid()} on {listener.fileno()}\n".encode()
    if path.startswith("/slow/"):
        milliseconds = int(path.split("/")[2])
        time.sleep(milliseconds / 1000)
        text = f"waited {milliseconds} ms\n".encode()
    elif path == "/echo":
        text = body
    elif path != "/quick":
        time.sleep(0.002)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
    if path == "/shutdown":
        listener.shutdown(socket.SHUT_RD)
    elif path == "/nonblock":
        fcntl.fcntl(listener, fcntl.F_SETFL, fcntl.fcntl(listener, fcntl.F_GETFL) | os.O_NONBLOCK)


def serve(listener):
    while True:
        try:
            client, _ = listener.accept()
        except OSError as error:
            if "--brittle" in sys.argv:
                print("cannot accept:", error, flush=True)
                os._exit(4)
            time.sleep(0.01)
            continue
        with client:
            answer(client, listener)


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
if os.environ["LISTEN_PID"] != str(os.getpid()) or "PORT" in os.environ:
    sys.exit("not told as it should be")
for descriptor in range(FIRST, FIRST + int(os.environ["LISTEN_FDS"])):
    threading.Thread(target=serve, args=[socket.socket(fileno=descriptor)], daemon=True).start()
signal.pause()
