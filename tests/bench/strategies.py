#!/usr/bin/env python3
"""What each strategy makes of one slow worker of four: how long clients wait, and how many it gets.

    tests/bench/strategies.py [--seconds 5] [--rate 300] [--slow 20] [--bin target/release]

Worker 0 answers one request at a time and takes `--slow` ms for each; the others are demo workers, which take none. The
checker asks at a fixed rate whether answers come or not, each request on a connection of its own, and looks at every
answer. One master runs all the time, and `roundelay strategy` changes it. With 300 requests a second the turns of worker 0
in a rotation of four are more than it can do, so what waits for it grows as long as the load lasts.

Needs Python 3.11, and `cargo build --release --workspace`. Prints a table; times in ms.
"""

import argparse
import json
import os
import socket
import socketserver
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Not source-hash: the load comes from one address, so one worker would get all of it.
STRATEGIES = ["round-robin", "random", "p2c", "least-connections", "least-waiting"]


class Slow(socketserver.StreamRequestHandler):
    """Answers as the demo worker does, one after the other."""

    count = 0

    def handle(self):
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            pass
        if not line:
            return
        time.sleep(float(os.environ["SLOW_SECONDS"]))
        Slow.count += 1
        body = f"hello from app/0 (pid {os.getpid()}), request {Slow.count}\n".encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.wfile.write(head.encode() + body)


def worker(binary):
    """A worker of the pool: number 0 is slow."""
    if os.environ["ROUNDELAY_WORKER"] != "0":
        os.execv(binary, [binary, "demo-worker"])
    socketserver.TCPServer.allow_reuse_address = True
    socketserver.TCPServer.request_queue_size = 1024
    with socketserver.TCPServer(("127.0.0.1", int(os.environ["PORT"])), Slow) as server:
        server.serve_forever()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=int, default=5, help="of load, for each strategy")
    parser.add_argument("--rate", type=int, default=300, help="requests a second")
    parser.add_argument("--slow", type=float, default=20, help="ms that worker 0 takes for a request")
    parser.add_argument("--bin", type=Path, default=ROOT / "target/release", help="folder of the programs")
    asked = parser.parse_args()
    roundelay, checker = (str(asked.bin.resolve() / name) for name in ("roundelay", "roundelay-checker"))
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        env = {**os.environ, "SLOW_SECONDS": str(asked.slow / 1000), "ROUNDELAY_CONTROL": f"{folder}/c"}
        args = ["run", "-n", "app", "-i", "4", "-l", f"127.0.0.1:{port}", "--admin", "off", "--log-level", "warn"]
        # Only the strategy is to notice that a worker is slow.
        args += ["--health", "none", "--set", "pool.app.health.hang-timeout=off", "--set", "pool.app.health.busy-timeout=off"]
        program = [sys.executable, str(Path(__file__).resolve()), "worker", roundelay]
        master = subprocess.Popen([roundelay, *args, "--", *program], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 20
            while subprocess.run([roundelay, "status"], env=env, capture_output=True).returncode != 0:
                if time.monotonic() > deadline or master.poll() is not None:
                    sys.exit("the master did not become ready")
                time.sleep(0.05)
            print(f"{asked.rate} requests a second for {asked.seconds} s; worker 0 takes {asked.slow:g} ms for each, one at a time")
            print(f"{'strategy':18} {'mean':>8} {'p50':>8} {'p90':>8} {'p99':>8} {'worst':>8}  {'worker 0':>8}  failed")
            for strategy in STRATEGIES:
                subprocess.run([roundelay, "strategy", "app", strategy], env=env, check=True, capture_output=True)
                report = f"{folder}/{strategy}.json"
                load = [checker, "--target", f"127.0.0.1:{port}", "--ask", "worker", "--rate", str(asked.rate)]
                load += ["--duration", f"{asked.seconds}s", "--timeout", "60s", "--json", report]
                subprocess.run(load, capture_output=True)
                seen = json.loads(Path(report).read_text())
                times = seen["latency_seconds"]
                figures = " ".join(f"{1000 * times[key]:8.2f}" for key in ("mean", "p50", "p90", "p99", "max"))
                share = sum(count for name, count in seen["workers"].items() if name.startswith("app/0"))
                print(f"{strategy:18} {figures}  {share / max(1, seen['good']):8.1%}  {seen['failed']}", flush=True)
        finally:
            master.terminate()
            master.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2])
    else:
        main()
