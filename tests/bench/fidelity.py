#!/usr/bin/env python3
"""What a TCP proxy does to ends, resets and early answers: the same scripted peers behind each one.

    tests/bench/fidelity.py [-n 200] [roundelay haproxy nginx nginx-half-close direct]

Starts the proxies it finds on free ports of 127.0.0.1, one worker script behind each, plays every scene n times and
prints how often the far end saw what it had to see. Needs Python 3.9, a release build of roundelay, and haproxy and
nginx (with its stream module) for their rows.
"""

import argparse
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ANSWER = b"a" * 5000
UPLOAD = b"u" * (4 << 20)
RESET = struct.pack("ii", 1, 0)


def read_all(peer):
    """Everything up to the end, and whether that was a reset."""
    parts = []
    try:
        while part := peer.recv(65536):
            parts.append(part)
        return b"".join(parts), False
    except ConnectionError:
        return b"".join(parts), True


# --- the worker: the first line of a connection names the scene and a token ---------------------------------------


def worker():
    report = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    report_to = ("127.0.0.1", int(os.environ["FIDELITY_REPORT"]))
    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=1024)

    def serve(peer):
        line = b""
        while not line.endswith(b"\n"):
            byte = peer.recv(1)
            if not byte:
                return  # a probe
            line += byte
        scene, token = line.decode().split()
        if scene == "early":
            peer.sendall(ANSWER)
            peer.close()  # with most of the upload unread
        elif scene == "client-half":
            body, _ = read_all(peer)
            peer.sendall(ANSWER if body == UPLOAD[:65536] else b"wrong")
        elif scene == "worker-half":
            peer.sendall(ANSWER)
            peer.shutdown(socket.SHUT_WR)
            body, reset = read_all(peer)
            report.sendto(f"{token} {len(body)} {reset}".encode(), report_to)
        elif scene == "worker-reset":
            peer.sendall(ANSWER[:1000])
            time.sleep(0.005)  # so that the bytes are ahead of the reset
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif scene == "client-reset":
            peer.sendall(b"!")
            _, reset = read_all(peer)
            report.sendto(f"{token} 0 {reset}".encode(), report_to)
        peer.close()

    def guarded(peer):
        try:
            serve(peer)
        except OSError:
            peer.close()

    while True:
        peer, _ = listener.accept()
        threading.Thread(target=guarded, args=(peer,), daemon=True).start()


# --- the client: one function a scene, true if all went as it must ------------------------------------------------


class Reports:
    """What the workers say of the end they saw, by token."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.seen, self.changed = {}, threading.Condition()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            token, length, reset = self.socket.recv(100).decode().split()
            with self.changed:
                self.seen[token] = (int(length), reset == "True")
                self.changed.notify_all()

    def wait(self, token):
        with self.changed:
            self.changed.wait_for(lambda: token in self.seen, timeout=5)
            return self.seen.get(token)


def connect(port, scene, token):
    peer = socket.create_connection(("127.0.0.1", port), timeout=5)
    peer.sendall(f"{scene} {token}\n".encode())
    return peer


def early(port, token, _):
    peer = connect(port, "early", token)
    try:
        peer.sendall(UPLOAD)
    except OSError:
        pass  # the other end has had enough
    return read_all(peer)[0] == ANSWER


def client_half(port, token, _):
    peer = connect(port, "client-half", token)
    peer.sendall(UPLOAD[:65536])
    peer.shutdown(socket.SHUT_WR)
    return read_all(peer) == (ANSWER, False)


def worker_half(port, token, reports):
    peer = connect(port, "worker-half", token)
    if read_all(peer) != (ANSWER, False):
        return False
    try:
        peer.sendall(UPLOAD[:65536])
        peer.close()
    except OSError:
        return False
    return reports.wait(token) == (65536, False)


def worker_reset(port, token, _):
    peer = connect(port, "worker-reset", token)
    return read_all(peer) == (ANSWER[:1000], True)


def client_reset(port, token, reports):
    peer = connect(port, "client-reset", token)
    if peer.recv(1) != b"!":
        return False
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    peer.close()
    return reports.wait(token) == (0, True)


SCENES = {
    "early answer during upload, whole": early,
    "half-close client to worker": client_half,
    "half-close worker to client": worker_half,
    "reset worker to client": worker_reset,
    "reset client to worker": client_reset,
}

# --- the proxies ---------------------------------------------------------------------------------------------------

HAPROXY = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen l
    bind 127.0.0.1:{port}
    server w 127.0.0.1:{worker}
"""

NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; pid {dir}/pid; error_log {dir}/log;
events {{ worker_connections 1000; }}
stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{worker}; {more} }} }}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def commands(name, port, worker_port, folder):
    """The commands to start, or None if something is missing."""
    script = [sys.executable, str(Path(__file__).resolve()), "--worker"]
    if name == "roundelay":
        binary = ROOT / "target/release/roundelay"
        args = ["run", "--listen", f"127.0.0.1:{port}", "--admin", "off", "--control", f"{folder}/c", "--workers", "2"]
        return [[str(binary), *args, "--", *script]] if binary.exists() else None
    if name == "direct":
        return [script]
    if name == "haproxy":
        text, start = HAPROXY, ["haproxy", "-db", "-f"]
    else:
        text, start = NGINX, ["nginx", "-c"]
    if not shutil.which(start[0]):
        return None
    more = "proxy_half_close on;" if name == "nginx-half-close" else ""
    config = Path(folder) / "config"
    config.write_text(text.format(port=port, worker=worker_port, dir=folder, more=more))
    return [script, [*start, str(config)]]


def play(name, repetitions):
    reports, port = Reports(), free_port()
    worker_port = port if name == "direct" else free_port()
    with tempfile.TemporaryDirectory() as folder:
        todo = commands(name, port, worker_port, folder)
        if todo is None:
            return None
        env = {**os.environ, "PORT": str(worker_port), "FIDELITY_REPORT": str(reports.port)}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        running = [subprocess.Popen(command, env=env, **quiet) for command in todo]
        try:
            wait_open(port)
            counts = {}
            for title, scene in SCENES.items():

                def once(i, title=title, scene=scene):
                    try:
                        return scene(port, f"{title.replace(' ', '-')}-{i}", reports)
                    except OSError:
                        return False

                with ThreadPoolExecutor(8) as pool:
                    counts[title] = sum(pool.map(once, range(repetitions)))
            return counts
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait()


def wait_open(port):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            # An exchange, since a proxy may listen before its worker does.
            with connect(port, "client-reset", "warm-up") as peer:
                if peer.recv(1) == b"!":
                    return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"nothing answers on port {port}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("-n", type=int, default=200, help="repetitions of each scene")
    parser.add_argument("proxies", nargs="*", default=["direct", "roundelay", "haproxy", "nginx", "nginx-half-close"])
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        return worker()
    rows = {name: play(name, asked.n) for name in asked.proxies}
    print(f"| of {asked.n} | " + " | ".join(rows) + " |")
    print("|---|" + "---:|" * len(rows))
    for title in SCENES:
        cells = ["skipped" if counts is None else str(counts[title]) for counts in rows.values()]
        print(f"| {title} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
