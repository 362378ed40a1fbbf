"""Serves until the file `close` is there. Then it closes its listener and, once, starts another user's server at its port."""
import os
import select
import socket
import subprocess
import sys

PORT = int(os.environ["PORT"])
server = socket.create_server((os.environ["HOST"], PORT), backlog=100)
while True:
    if not os.path.exists("stranger") and os.path.exists("close"):
        break
    if select.select([server], [], [], 0.02)[0]:
        client, _ = server.accept()
        with client:
            if client.recv(1000):
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nworker\n")
server.close()
stranger = subprocess.Popen(sys.argv[1:], start_new_session=True)
with open("stranger", "w") as file:
    file.write(f"{stranger.pid}\n")
if stranger.wait():
    open("refused", "w").close()
select.select([], [], [], 600)
