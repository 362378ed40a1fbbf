"""Serves one client at a time, as a synchronous worker does.

/slow/N sleeps N seconds before the answer, /big/N answers N MiB, a POST is read to its end first. The answer to all others is
the pid.
"""
import os
import socket
import time


def listener():
    port = os.environ["PORT"]
    if port.isdigit():
        return socket.create_server((os.environ["HOST"], int(port)), backlog=128)
    server = socket.socket(socket.AF_UNIX)
    server.bind(port)
    server.listen(128)
    return server


def serve(client):
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            return
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    lines = head.split(b"\r\n")
    path = lines[0].split()[1].decode().split("/")
    fields = dict(line.lower().split(b": ", 1) for line in lines[1:])
    left = int(fields.get(b"content-length", 0)) - len(rest)
    while left > 0:
        left -= len(client.recv(65536))
    if path[1] == "slow":
        time.sleep(float(path[2]))
    body = b"x" * (int(path[2]) << 20) if path[1] == "big" else b"%d\n" % os.getpid()
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)


server = listener()
while True:
    client, _ = server.accept()
    with client:
        try:
            serve(client)
        except ConnectionError:
            pass
