"""A roundelay master of its own: its file, its log, the commands it is given, its counters."""

import datetime
import json
import os
import re
import socket
import subprocess
import time
from pathlib import Path

from . import processes
from .log import Log

ROOT = Path(__file__).resolve().parents[3]
BINARY = ROOT / "target/release/roundelay"

# The ways to a worker, and the keys that choose them. Where they have no endpoint there is nothing to probe, and a replaced
# worker would be parked for a second.
WAYS = {
    "port": {"health": {"probe": "/health"}},
    "unix": {"endpoint": "unix", "health": {"probe": "/health"}},
    "inherited": {"endpoint": "inherited", "health": {"probe": "/health"}},
    "handoff": {"mode": "handoff", "settle": "0s"},
    "shared": {"mode": "shared", "settle": "0s"},
    "reuseport": {"mode": "reuseport", "settle": "0s"},
}
# Where the workers accept, the master counts no connections.
UNOBSERVED = {"shared", "reuseport"}
# Every death counts as a first one, after which the next process is started at once.
NO_BACKOFF = {"restart": {"reset-after": "0s", "max-exits": 100000}}

SUSPECT = "worker unhealthy, removed from rotation"
HUNG = "hung: killing its process group and starting another"
DEADLINE = "drain deadline: cutting open connections"


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)


def seconds_of(event):
    """When it was logged, in Unix time."""
    return datetime.datetime.fromisoformat(event["timestamp"]).timestamp()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Master:
    """A master with one pool called `demo`, of demo workers unless `command` is another; all ready when this returns."""

    def __init__(self, folder, way="port", workers=4, **keys):
        self.folder, self.port, self.workers = Path(folder) / f"m{time.monotonic_ns()}", free_port(), workers
        self.folder.mkdir()
        self.control = self.folder / "c"
        self.keys = {"command": [str(BINARY), "demo-worker"], "listen": f"127.0.0.1:{self.port}", "workers": workers}
        self.keys |= WAYS[way] | keys
        self.is_observed = way not in UNOBSERVED
        self.write()
        args = ["run", "-c", "roundelay.toml", "--control", self.control, "--admin", "off", "--log-format", "json"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ROUNDELAY_")}
        self.process = subprocess.Popen(
            [BINARY, *args], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, env=environment | {"RUST_LOG": "roundelay=info,roundelay::supervisor=debug"})
        try:
            self.log, self.pid = Log(self.process.stderr), self.process.pid
            for slot in range(workers):
                self.log.wait("worker ready", 0, worker=f"demo/{slot}")
        except BaseException:
            self.stop()
            raise

    def write(self, **changed):
        """The file, whole at once, as a reload may read it at any time."""
        lines = ["[pool.demo]", *(f"{key} = {toml(value)}" for key, value in (self.keys | changed).items())]
        new = self.folder / "new.toml"
        new.write_text("\n".join(lines) + "\n")
        new.rename(self.folder / "roundelay.toml")

    def reload(self):
        """The exit code, and the report if there is one."""
        command = [BINARY, "reload", "demo", "--json", "--control", self.control]
        ended = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600)
        lines = ended.stdout.splitlines()
        return ended.returncode, json.loads(lines[-1]) if lines else {}, ended.stderr

    def ask(self, path):
        """The body of the answer to a GET on the control socket."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(20)
            peer.connect(str(self.control))
            peer.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: peer.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0] + b" " or b"chunked" in head.lower():
            raise RuntimeError(f"{path}: {head.decode(errors='replace')}")
        return body.decode()

    def state(self):
        return json.loads(self.ask("/api/v1/state"))["pools"][0]

    def pids(self):
        return [worker["pid"] for worker in self.state()["workers"]]

    def counter(self, name, **labels):
        """The sum of all series of that name with these labels."""
        total = 0.0
        for line in self.ask("/metrics").splitlines():
            found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == name:
                has = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
                if all(has.get(key) == str(value) for key, value in labels.items()):
                    total += float(found[3])
        return total

    def broken(self):
        """Connections that ended since their worker did, of which some were idle."""
        return int(self.counter("roundelay_connection_closes_total", reason="upstream_reset"))

    def logged(self, message, after=0):
        """All events of that message from the `after`th on."""
        return [event for event in list(self.log.events)[after:] if event["message"] == message]

    def mark(self):
        """The place in the log where events from now on will stand."""
        return len(self.log.events)

    def stop(self):
        processes.end(self.process, patience=60)
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
