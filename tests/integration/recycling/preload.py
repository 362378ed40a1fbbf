"""Loads memory and forks three children that share it; with "own", each loads as much for itself."""
import os
import socket
import sys

SHARED = "own" not in sys.argv
memory = bytearray(os.urandom(1 << 20)) * 60 if SHARED else None
listener = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])), backlog=100)
for _ in range(3):
    if os.fork() == 0:
        break
memory = memory or bytearray(os.urandom(1 << 20)) * 60
while True:
    client, _ = listener.accept()
    client.recv(1000)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
    client.close()
