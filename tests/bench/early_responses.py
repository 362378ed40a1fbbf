#!/usr/bin/env python3
"""Early responses: a worker answers without reading the rest of the request and closes. How many clients get all of it?

    tests/bench/early_responses.py [-n 1000]

For each size, endpoint (port, unix) and client (reads, pauses 0.3 s before it reads, uploads 2 MB meanwhile, both), n
connections to the worker itself and n through Roundelay, in turn in the same run. Needs Python 3.9 and a release build.
"""

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIZES = [10, 1_000, 10_000, 50_000, 100_000, 200_000, 1_000_000, 3_000_000, 10_000_000]
CLIENTS = [("reads", False, False), ("pauses", True, False), ("uploads", False, True), ("both", True, True)]
AT_ONCE = 8


def worker():
    place = os.environ["PORT"]
    if place.startswith("/"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(place)
    else:
        listener = socket.create_server(("127.0.0.1", int(place)))
    listener.listen(1024)

    def serve(peer):
        line = b""
        with contextlib.suppress(OSError):
            while not line.endswith(b"\n") and (byte := peer.recv(1)):
                line += byte
            peer.sendall(b"x" * int(line or b"0"))
        peer.close()

    while True:
        peer, _ = listener.accept()
        threading.Thread(target=serve, args=(peer,), daemon=True).start()


def ask(place, size, pauses, uploads):
    """The bytes that one client got."""
    family = socket.AF_UNIX if isinstance(place, str) else socket.AF_INET
    with socket.socket(family) as peer:
        peer.settimeout(60)
        peer.connect(place)
        peer.sendall(b"%d\n\r\n" % size)

        def upload():
            with contextlib.suppress(OSError):
                peer.sendall(b"u" * 2_000_000)

        sender = threading.Thread(target=upload, daemon=True)
        if uploads:
            sender.start()
        if pauses:
            time.sleep(0.3)
        got = 0
        with contextlib.suppress(OSError):
            while part := peer.recv(262144):
                got += len(part)
        if uploads:
            peer.close()
            sender.join()
        return got


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_for(place):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if ask(place, 1, False, False) == 1:
                return
        time.sleep(0.05)
    sys.exit(f"nothing answers at {place}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("-n", type=int, default=1000, help="connections for each cell")
    parser.add_argument("-s", type=int, nargs="*", default=SIZES, help="sizes in bytes")
    parser.add_argument("-b", type=Path, default=ROOT / "target/release/roundelay", help="the binary")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        return worker()
    script = [sys.executable, str(Path(__file__).resolve()), "--worker"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    titles = " | ".join(f"{name}, direct | {name}, Roundelay" for name, _, _ in CLIENTS)
    print(f"| whole of {asked.n} | {titles} |\n|---|" + "---:|" * 2 * len(CLIENTS), flush=True)
    for endpoint in ("unix", "port"):
        with tempfile.TemporaryDirectory() as folder:
            public, direct = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
            place = f"{folder}/direct.sock" if endpoint == "unix" else direct
            listen = f"{public[0]}:{public[1]}"
            args = ["run", "--listen", listen, "--admin", "off", "--control", f"{folder}/c", "--endpoint", endpoint]
            env = {**os.environ, "PORT": place if endpoint == "unix" else str(direct[1])}
            running = [
                subprocess.Popen(script, env=env, **quiet),
                subprocess.Popen([str(asked.b), *args, "--workers", "2", "--", *script], **quiet),
            ]
            try:
                wait_for(place)
                wait_for(public)
                for size in asked.s:
                    cells = []
                    for _, pauses, uploads in CLIENTS:
                        # 8 MB and more in flight at once measures the machine's memory, not the endings.
                        at_once = 64 if pauses and size < 500_000 else AT_ONCE
                        for target in (place, public):
                            with ThreadPoolExecutor(at_once) as pool:
                                once = lambda _, t=target, s=size, p=pauses, u=uploads: ask(t, s, p, u) == s
                                cells.append(sum(pool.map(once, range(asked.n))))
                    print(f"| {endpoint}, {size:,} B | " + " | ".join(map(str, cells)) + " |", flush=True)
            finally:
                for process in reversed(running):
                    process.terminate()
                    process.wait()


if __name__ == "__main__":
    main()
