#!/usr/bin/env python3
"""Reloads of a Node application while clients keep their connections: what each way to run it loses, by version of Node.

    tests/bench/node_reload.py                                      # every way and version, about 15 minutes
    tests/bench/node_reload.py --watch                              # when Node closes a connection, about 4 minutes
    tests/bench/node_reload.py --versions 22 --ways handoff,cluster --app express

Twenty clients send the next request at once and twenty after a pause of 0 to 50 ms; all keep their connections, look before
each request whether theirs was closed, and repeat nothing. Each round starts every way anew, in turn, and reloads it once.
Needs Python 3.9, a release build, tests/node/versions/install.sh and, for Express, `npm ci --prefix tests/node`.
"""

import argparse
import contextlib
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NODES = ROOT / "tests/node/versions/node_modules"
VERSIONS = [18, 20, 22, 24]
DRAIN = 3
LISTEN = ".listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? '127.0.0.1');"

# As plain as it can be. It tells when its server is closed, which is what a disconnect from the cluster does.
PLAIN = """const http = require('node:http');
const close = http.Server.prototype.close;
http.Server.prototype.close = function (...args) {
  console.log(`closing ${Date.now()}`);
  return close.apply(this, args);
};
http.createServer((request, response) => {
  const answer = () => response.end('hello\\n');
  request.url === '/' ? answer() : setTimeout(answer, Number(request.url.slice(1)));
})""" + LISTEN + "\n"
# Says `Connection: close` once it is told to end, and ends when its clients have left.
SAYS_CLOSE = """let isLeaving = false;
const server = require('node:http').createServer((request, response) => {
  if (isLeaving) response.setHeader('Connection', 'close');
  response.end('hello\\n');
})""" + LISTEN + """
const leave = () => {
  isLeaving = true;
  setInterval(() => server.getConnections((error, count) => count === 0 && process.exit(0)), 50);
};
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, leave);
"""
# Node's own cluster: forks new workers, disconnects the old ones, and ends after DRAIN what is left of them.
PRIMARY = """const cluster = require('node:cluster');
const [, , exec, count, drain] = process.argv;
cluster.setupPrimary({ exec });
const start = () => new Promise((resolve) => cluster.fork().once('listening', function () { resolve(this); }));
const all = () => Promise.all(Array.from({ length: Number(count) }, start));
async function leave(worker) {
  const gone = new Promise((resolve) => worker.once('exit', resolve));
  worker.disconnect();
  const timer = setTimeout(() => worker.process.kill('SIGINT'), Number(drain) * 1000);
  await gone;
  clearTimeout(timer);
}
process.on('SIGHUP', async () => {
  const old = Object.values(cluster.workers);
  await all();
  await Promise.all(old.map(leave));
  console.log('reloaded');
});
all();
"""
WAYS = {
    "cluster": None,
    "handoff": ["--mode", "handoff"],
    "shared": ["--mode", "shared"],
    "proxy": ["--mode", "proxy"],
    "proxy, signal": ["--mode", "proxy", "--set", "pool.app.drain=signal"],
    "handoff, signal": ["--mode", "handoff", "--set", "pool.app.drain=signal"],
}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Target:
    """A running application behind one of the ways."""

    def __init__(self, asked, way, version, folder, workers, drain):
        self.port, self.drain, self.folder = free_port(), drain, folder
        node = str(NODES / f"node-{version}/bin/node")
        app = ROOT / "tests/node/app.js"
        if "signal" in way or asked.app == "http":
            app = Path(folder) / "app.js"
            app.write_text(SAYS_CLOSE if "signal" in way else PLAIN)
        env = {**os.environ, "PORT": str(self.port)}
        self.log = open(Path(folder) / "log", "w+")
        if WAYS[way] is None:
            (Path(folder) / "primary.js").write_text(PRIMARY)
            command = [node, f"{folder}/primary.js", str(app), str(workers), str(drain)]
        else:
            limits = ["--set", f"pool.app.drain-timeout={drain}s", "-n", "app", "-i", str(workers)]
            place = ["--listen", f"127.0.0.1:{self.port}", "--admin", "off", "--control", f"{folder}/control"]
            command = [asked.binary, "run", *place, *limits, *WAYS[way], "--", node, str(app)]
        self.is_cluster = WAYS[way] is None
        self.binary = asked.binary
        self.process = subprocess.Popen(command, env=env, stdout=self.log, stderr=subprocess.STDOUT)

    def __enter__(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                if ask(probe)[0]:
                    return self
            time.sleep(0.1)
        sys.exit(f"nothing answers behind {self.process.args}:\n{self.said()}")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.log.close()

    def said(self):
        return (Path(self.folder) / "log").read_text()

    def reload(self):
        """The exit code and the ledger's line, where there are any."""
        if not self.is_cluster:
            command = [self.binary, "reload", "--control", f"{self.folder}/control"]
            ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            lines = [line[5:] for line in ended.stdout.splitlines() if line.startswith("app  ")]
            return ended.returncode, lines[-1] if lines else ended.stdout
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + self.drain + 30
        while "reloaded" not in self.said() and time.monotonic() < deadline:
            time.sleep(0.05)
        return None, ""


def ask(peer, path="/"):
    """Whether the whole answer came, and whether the server will close the connection."""
    try:
        peer.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            if not (part := peer.recv(65536)):
                return False, True
            answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        head = head.lower()
        chunked = b"transfer-encoding: chunked" in head
        length = int(re.search(rb"content-length: (\d+)", head)[1]) if not chunked else 0
        while (not body.endswith(b"0\r\n\r\n")) if chunked else len(body) < length:
            if not (part := peer.recv(65536)):
                return False, True
            body += part
        return True, b"connection: close" in head
    except OSError:
        return False, True


def is_closed(peer):
    if not select.select([peer], [], [], 0)[0]:
        return False
    with contextlib.suppress(OSError):
        return not peer.recv(1, socket.MSG_PEEK)
    return True


class Client(threading.Thread):
    def __init__(self, port, pause):
        super().__init__(daemon=True)
        self.port, self.pause, self.requests, self.lost, self.is_over = port, pause, 0, 0, False

    def run(self):
        peer = None
        while not self.is_over:
            if self.pause:
                time.sleep(random.uniform(0, self.pause))
            if peer and is_closed(peer):
                peer.close()
                peer = None
            self.requests += 1
            try:
                peer = peer or socket.create_connection(("127.0.0.1", self.port), 30)
                is_answered, is_last = ask(peer)
            except OSError:
                is_answered, is_last = False, True
            self.lost += not is_answered
            if is_last and peer:
                peer.close()
                peer = None


def round_of(asked, way, version):
    """Requests and losses of both kinds of client in one reload, with the exit code and the ledger."""
    with tempfile.TemporaryDirectory() as folder, Target(asked, way, version, folder, 2, DRAIN) as target:
        kinds = [[Client(target.port, pause) for _ in range(20)] for pause in (0, 0.05)]
        clients = [client for kind in kinds for client in kind]
        for client in clients:
            client.start()
        time.sleep(1)
        code, ledger = target.reload()
        time.sleep(0.5)
        for client in clients:
            client.is_over = True
        for client in clients:
            client.join()
        sums = [(sum(client.requests for client in kind), sum(client.lost for client in kind)) for kind in kinds]
        return sums, code, ledger


def measure(asked):
    rows = {(version, way): [] for version in asked.versions for way in asked.ways}
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(asked.reloads):
            for key in rows:
                rows[key].append(round_of(asked, key[1], key[0]))
                print(f"round {number + 1}: Node {key[0]}, {key[1]}: {rows[key][-1]}", file=sys.stderr, flush=True)
    print(f"Lost of all requests in {asked.reloads} reloads with {DRAIN} s to drain, and at each reload.\n")
    print("| Node | way | 20 that never pause | 20 that pause | exit codes | ledger |\n|---|---|---:|---:|---|---|")
    for (version, way), rounds in rows.items():
        cells = []
        for kind in (0, 1):
            lost = [sums[kind][1] for sums, _, _ in rounds]
            total = sum(sums[kind][0] for sums, _, _ in rounds)
            cells.append(f"{sum(lost)} of {total:,} ({' '.join(map(str, lost))})")
        codes = " ".join("-" if code is None else str(code) for _, code, _ in rounds)
        ledger = rounds[-1][2] if rounds else ""
        print(f"| {version} | {way} | {' | '.join(cells)} | {codes} | {ledger} |")


def watch(asked):
    """When four connections end, counted from the moment at which the application's server is closed, or their answer."""
    titles = ["Node", "way", "idle", "idle after an answer that was under way", "a request each 0.5 s", "always one under way"]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}", flush=True)
    for version in asked.versions:
        for way in [way for way in asked.ways if "signal" not in way and way != "proxy"]:
            with tempfile.TemporaryDirectory() as folder, Target(asked, way, version, folder, 1, 12) as target:
                begun, ends, is_answered = [0] * 4, [0] * 4, []

                def follow(number, path, pause, again):
                    with socket.create_connection(("127.0.0.1", target.port), 60) as peer:
                        is_answered.append(ask(peer)[0])
                        started.wait()
                        while path and ask(peer, path)[0] and again and not select.select([peer], [], [], pause)[0]:
                            pass
                        begun[number] = time.time() if path and not again else 0
                        peer.settimeout(30)
                        with contextlib.suppress(OSError):
                            peer.recv(1)
                        ends[number] = time.time()

                started = threading.Event()
                kinds = [("", 0, False), ("/2000", 0, False), ("/", 0.5, True), ("/50", 0, True)]
                threads = [threading.Thread(target=follow, args=(i, *kind)) for i, kind in enumerate(kinds)]
                for thread in threads:
                    thread.start()
                while len(is_answered) < len(kinds):
                    time.sleep(0.01)
                started.set()
                target.reload()
                for thread in threads:
                    thread.join()
                closed = int(re.search(r"closing (\d+)", target.said())[1]) / 1000
                cells = [f"{end - max(start, closed):.2f} s" for start, end in zip(begun, ends)]
                print(f"| {version} | {way} | {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    listed = lambda text: text.split(",")
    parser.add_argument("--versions", type=lambda text: [int(word) for word in text.split(",")], default=VERSIONS)
    parser.add_argument("--ways", type=listed, default=list(WAYS), help="of " + "; ".join(WAYS))
    parser.add_argument("--app", choices=["http", "express"], default="http")
    parser.add_argument("--reloads", type=int, default=5, help="of each [5]")
    parser.add_argument("--watch", action="store_true", help="when Node closes a connection, instead of what is lost")
    parser.add_argument("--binary", default=str(ROOT / "target/release/roundelay"))
    asked = parser.parse_args()
    # As Ctrl-C: what was started is ended, and what is over is shown.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    watch(asked) if asked.watch else measure(asked)


if __name__ == "__main__":
    main()
