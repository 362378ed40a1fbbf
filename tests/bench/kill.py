#!/usr/bin/env python3
"""What a worker's sudden death costs the clients: kill -9 of one worker after the other under a steady load.

    tests/bench/kill.py [-n 50] [--workers 3]

Starts `roundelay demo` on free ports of 127.0.0.1, asks it without pause from 8 threads, one connection a request, and
checks every answer. Prints how many requests failed and how (a request in flight on the killed worker may), and the
times from the signal until the master had the worker out of rotation and until its replacement's program ran, as the
master's own log stamps them. Needs Python 3.11 and a release build.
"""

import argparse
import collections
import datetime
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Load:
    """Threads that ask and count how each request ended."""

    def __init__(self, port, threads):
        self.port, self.ends, self.stop = port, collections.Counter(), threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.stop.is_set():
            self.ends[self.ask()] += 1

    def ask(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as peer:
                peer.sendall(b"GET /slow/2 HTTP/1.1\r\nHost: l\r\nConnection: close\r\n\r\n")
                answer = b""
                while part := peer.recv(65536):
                    answer += part
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "timeout"
        except ConnectionError:
            return "reset"
        head, _, body = answer.partition(b"\r\n\r\n")
        length = [line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        if not answer:
            return "ended without an answer"
        return "answered" if length and len(body) == int(length[0]) else "truncated"

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


class Log:
    """The master's log, as it comes."""

    def __init__(self, pipe):
        self.events, self.changed = [], threading.Condition()
        threading.Thread(target=self.read, args=(pipe,), daemon=True).start()

    def read(self, pipe):
        for line in pipe:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            with self.changed:
                self.events.append(event)
                self.changed.notify_all()

    def wait(self, what, after, **fields):
        """The time of the first event of that message and fields from the `after`th on, and its place."""

        def find():
            for i, event in enumerate(self.events[after:], after):
                if event["message"] == what and all(event.get(k) == v for k, v in fields.items()):
                    return i
            return None

        with self.changed:
            if not self.changed.wait_for(lambda: find() is not None, timeout=20):
                sys.exit(f"the master's log never said `{what}` {fields}")
            event = self.events[find()]
        return datetime.datetime.fromisoformat(event["timestamp"]).timestamp(), event


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("-n", type=int, default=50, help="kills")
    parser.add_argument("--workers", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        args = ["demo", "--listen", f"127.0.0.1:{port}", "--admin", "off", "--control", f"{folder}/c"]
        args += ["--workers", str(asked.workers), "--log-format", "json", "--log-level", "debug"]
        # Killed workers had run for long, or so it should seem: no backoff.
        args += ["--set", "pool.demo.restart.reset-after=0s", "--set", "pool.demo.restart.max-exits=100000"]
        master = subprocess.Popen([ROOT / "target/release/roundelay", *args], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, env={**os.environ, "RUST_LOG": "roundelay::supervisor=debug"})
        try:
            log = Log(master.stderr)
            pids = {}
            for slot in range(asked.workers):
                pids[slot] = log.wait("worker ready", 0, worker=f"demo/{slot}")[1]["pid"]
            load, out, back = Load(port, 8), [], []
            time.sleep(0.5)
            for _ in range(asked.n):
                slot = random.randrange(asked.workers)
                before = len(log.events)
                killed = time.time()
                os.kill(pids[slot], signal.SIGKILL)
                out.append(log.wait("worker died", before, worker=f"demo/{slot}")[0] - killed)
                back.append(log.wait("worker executed", before, worker=f"demo/{slot}")[0] - killed)
                pids[slot] = log.wait("worker ready", before, worker=f"demo/{slot}")[1]["pid"]
                time.sleep(0.1)
            load.finish()
        finally:
            master.terminate()
            master.wait()
    print(f"{asked.n} kills of {asked.workers} workers; 8 clients")
    print("requests:", ", ".join(f"{count} {end}" for end, count in sorted(load.ends.items())))
    for title, times in (("out of rotation", out), ("replacement executed", back)):
        ms = sorted(t * 1000 for t in times)
        print(f"{title}: median {statistics.median(ms):.2f} ms, p99 {ms[int(len(ms) * 0.99)]:.2f} ms, worst {ms[-1]:.2f} ms")


if __name__ == "__main__":
    main()
