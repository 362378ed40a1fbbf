"""Answers each connection with the address that it came from, and keeps it open until its client ends it."""
import os
import socket
import threading


def serve(client, peer):
    with client:
        body = f"from {peer[0]}\n".encode()
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        while client.recv(1000):
            pass


with socket.create_server((os.environ["HOST"], int(os.environ["PORT"])), backlog=100) as server:
    while True:
        threading.Thread(target=serve, args=server.accept(), daemon=True).start()
