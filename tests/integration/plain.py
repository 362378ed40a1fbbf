"""Accepts where it is told to in the plainest way: a blocking accept, one connection at a time.

Its endpoint is a port, a path or an inherited descriptor. The answer is a line with the slot, the pid and the line of a
PROXY header if one came, then the request's body.
"""
import os
import socket

SLOT = os.environ["ROUNDELAY_WORKER"]


def listener():
    if "LISTEN_FDS" in os.environ:
        return socket.socket(fileno=3)
    port = os.environ["PORT"]
    if port.isdigit():
        return socket.create_server((os.environ["HOST"], int(port)), backlog=128)
    server = socket.socket(socket.AF_UNIX)
    server.bind(port)
    server.listen(128)
    return server


def read(client):
    """The line of a PROXY header, and the body; None where the client says nothing, as a probe does."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            return None
        data += more
    header = b""
    if data.startswith(b"PROXY "):
        header, data = data.split(b"\r\n", 1)
    head, body = data.split(b"\r\n\r\n", 1)
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", 0)):
        body += client.recv(65536)
    return header, body


server = listener()
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True:
    client, _ = server.accept()
    with client:
        try:
            asked = read(client)
            if asked:
                header, body = asked
                body = f"python/{SLOT} {os.getpid()} {header.decode()}\n".encode() + body
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except ConnectionError:
            pass
