"""A worker that is handed its connections and speaks the packets of its channel by hand.

It takes a connection, reads one request, answers with its slot, the path and its pid, and says that it has ended. While
the file bad.SLOT exists when it starts, it does what its first argument says instead, or beside that:

  refuse R    refuses everything, for reason R
  unknown     speaks of connections that it was never given, too
  garbage     sends what is no packet, too
  messages N  sends messages of N bytes as fast as they are taken, too
  mute        reads everything and takes nothing; answers pings
  lazy        the same, and once it has one it looks at its channel every 150 ms only
  slow        takes one connection every 60 ms
  moved       keeps its channel under another number than 3
  parting     serves until the file part exists, then closes its channel and lives on
"""
import os
import select
import socket
import struct
import sys
import threading
import time

SLOT = os.environ["ROUNDELAY_WORKER"]
HOW, VALUE = (sys.argv[1:] + ["", ""])[:2] if os.path.exists("bad." + SLOT) else ("", "")

CONNECTION, MESSAGE, PING = 1, 2, 3
TAKEN, REFUSED, ENDED, MESSAGE_UP, PONG = 1, 2, 3, 4, 5

channel = socket.socket(fileno=int(os.environ["ROUNDELAY_CHANNEL_FD"]))
if HOW == "moved":
    moved = channel.dup()
    channel.close()
    channel = moved
channel.setblocking(True)


def say(kind, *numbers, head=b""):
    channel.send(bytes([kind]) + head + struct.pack(f"<{len(numbers)}Q", *numbers))


def serve(number, client):
    client.settimeout(20)
    request = b""
    while b"\r\n\r\n" not in request:
        more = client.recv(65536)
        if not more:
            break
        request += more
    if request:
        path = request.split(b" ")[1].decode()
        body = f"python/{SLOT} {path} {os.getpid()}\n".encode()
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
    client.close()
    say(ENDED, number)


held = []


def handed(number, client):
    if HOW == "refuse":
        client.close()
        return say(REFUSED, number, head=bytes([int(VALUE)]))
    if HOW in ("mute", "lazy"):
        return held.append(client)
    if HOW == "unknown":
        say(TAKEN, number + 1_000_000, number + 2_000_000)
        say(ENDED, number)
        say(REFUSED, number + 1_000_000, head=b"\1")
    if HOW == "garbage":
        for packet in (b"\0", b"\1", b"\1\2\3", b"\2\1", b"\3" * 600, b"\4\xff", b"\5", b"\x63" * 90_000):
            channel.send(packet)
    say(TAKEN, number)
    if HOW == "slow":
        time.sleep(0.06)
    serve(number, client)


def chatter():
    while True:
        channel.send(bytes([MESSAGE_UP]) + b'"' + b"x" * (int(VALUE) - 2) + b'"')


def ready():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])


ready()
if HOW == "messages":
    threading.Thread(target=chatter, daemon=True).start()
while True:
    if HOW == "lazy" and held:
        time.sleep(0.15)
        if not select.select([channel], [], [], 0)[0]:
            continue
    if HOW == "parting":
        while not select.select([channel], [], [], 0.01)[0]:
            if os.path.exists("part"):
                os.remove("bad." + SLOT)
                channel.close()
                time.sleep(600)
    packet, descriptors, _, _ = socket.recv_fds(channel, 70_000, 4)
    if not packet:
        break
    if packet[0] == PING:
        say(PONG, *struct.unpack("<Q", packet[1:]))
    elif packet[0] == CONNECTION:
        handed(*struct.unpack("<Q", packet[1:]), socket.socket(fileno=descriptors[0]))
