#!/usr/bin/env python3
"""Busy is not hung: mixed load with requests of up to 20 s for half an hour, and no worker is replaced, no client reset.

    tests/bench/busy.py --minutes 30

Starts a master for each way to a worker, all at the same time, on free ports of 127.0.0.1, and ends them. Prints a line of
JSON for each way. Exits with 0 if no worker was replaced and no request failed. How soon a *stopped* worker is replaced is
what `roundelay drill --only stop` shows. Needs Python 3.11, node, and a release build: cargo build --release.
"""

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

BINARY = Path(__file__).resolve().parents[2] / "target/release/roundelay"

# Serves one client at a time.
SERIAL = '''
import os, socket, time
port = os.environ["PORT"]
if port.isdigit():
    server = socket.create_server((os.environ["HOST"], int(port)), backlog=128)
else:
    server = socket.socket(socket.AF_UNIX)
    server.bind(port)
    server.listen(128)
while True:
    client, _ = server.accept()
    with client:
        try:
            data = b""
            while b"\\r\\n\\r\\n" not in data and (more := client.recv(65536)):
                data += more
            if data:
                path = data.split()[1].decode().split("/")
                if path[1] in ("slow", "block"):
                    time.sleep(float(path[2]))
                client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\nConnection: close\\r\\n\\r\\nok\\n")
        except ConnectionError:
            pass
'''

# Serves many at a time; /block stands still without using CPU time.
NODE = '''
const stand = (seconds) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000);
require('http').createServer((request, response) => {
  const [, what, seconds] = request.url.split('/');
  if (what === 'block') stand(Number(seconds));
  setTimeout(() => response.end('ok\\n'), what === 'slow' ? Number(seconds) * 1000 : 0);
}).listen(process.env.PORT || 0, '127.0.0.1');
'''

WAYS = {
    "port": (["--endpoint", "port"], ["python3", "serial.py"]),
    "unix": (["--endpoint", "unix"], ["python3", "serial.py"]),
    "handoff": (["--mode", "handoff"], ["node", "app.js"]),
    "shared": (["--mode", "shared"], ["node", "app.js"]),
}

class Master:
    """A master of its own, ended when it is left."""

    def __init__(self, way, workers, folder):
        flags, command = WAYS[way]
        self.folder = Path(folder)
        (self.folder / "serial.py").write_text(SERIAL)
        (self.folder / "app.js").write_text(NODE)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.control = str(self.folder / "c")
        env = os.environ | {
            "ROUNDELAY_LISTEN": f"127.0.0.1:{self.port}",
            "ROUNDELAY_ADMIN": "off",
            "ROUNDELAY_CONTROL": self.control,
        }
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(
            [BINARY, "run", "-n", "app", "-i", str(workers), *flags, "--", *command],
            cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )
        self.wait(lambda: all(worker["state"] == "ready" for worker in self.workers()), 60)

    def ask(self, path):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(self.control)
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while more := client.recv(65536):
                data += more
        return data.split(b"\r\n\r\n", 1)[1].decode()

    def workers(self):
        return json.loads(self.ask("/api/v1/state"))["pools"][0]["workers"]

    def metric(self, name):
        lines = [line for line in self.ask("/metrics").splitlines() if line.startswith(name + "{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def wait(self, condition, seconds):
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return time.monotonic()
            except (OSError, ValueError, IndexError, KeyError):
                pass
            if time.monotonic() > deadline:
                sys.exit(f"gave up waiting; the log: {self.folder / 'log'}")
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Load:
    """Clients that each ask one thing after the other until the time is over."""

    def __init__(self, port, until, clients, kinds, seed):
        self.answered, self.failed, self.longest = 0, [], 0.0
        self.lock = threading.Lock()
        self.threads = [
            threading.Thread(target=self.run, args=(port, until, kinds, random.Random(f"{seed} {n}")))
            for n in range(clients)
        ]
        for thread in self.threads:
            thread.start()

    def run(self, port, until, kinds, choice):
        while time.monotonic() < until:
            path = choice.choice(kinds)
            begun = time.monotonic()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=120) as answer:
                    answer.read()
                failure = None
            except OSError as error:
                failure = f"{path}: {error}"
            with self.lock:
                self.longest = max(self.longest, time.monotonic() - begun)
                if failure:
                    self.failed.append(failure)
                else:
                    self.answered += 1
            time.sleep(0.02)


def soak(minutes, seed):
    is_good = True
    with tempfile.TemporaryDirectory() as folder:
        masters = {}
        for way in WAYS:
            (place := Path(folder) / way).mkdir()
            masters[way] = Master(way, 4, place)
        until = time.monotonic() + minutes * 60
        loads = {}
        for way, master in masters.items():
            # Of four workers two may be busy with a long request, the others serve what is short.
            long = Load(master.port, until, 2, ["/slow/20", "/block/20", "/slow/5"], seed)
            short = Load(master.port, until, 4, ["/", "/", "/", "/slow/0.2", "/block/0.3"], seed)
            loads[way] = (long, short)
        cpu = {way: cpu_seconds(master.process.pid) for way, master in masters.items()}
        for way, master in masters.items():
            for load in loads[way]:
                for thread in load.threads:
                    thread.join()
            row = {
                "way": way, "minutes": minutes,
                "long": loads[way][0].answered, "short": loads[way][1].answered,
                "failed": len(loads[way][0].failed) + len(loads[way][1].failed),
                "longest": round(loads[way][0].longest, 1),
                "replaced": master.metric("roundelay_worker_restarts_total"),
                "master_cpu": round(cpu_seconds(master.process.pid) - cpu[way], 2),
                "first_failures": (loads[way][0].failed + loads[way][1].failed)[:3],
            }
            print(json.dumps(row), flush=True)
            is_good &= row["failed"] == 0 and row["replaced"] == 0
        for master in masters.values():
            master.__exit__()
    return is_good


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(0 if soak(given.minutes, given.seed) else 1)


if __name__ == "__main__":
    main()
