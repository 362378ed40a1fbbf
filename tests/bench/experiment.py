#!/usr/bin/env python3
"""The class experiment: one server with and without a cluster, under loadtest and `artillery quick`.

    npm ci --prefix tests/node && npm install --ignore-scripts --prefix /tmp/tools loadtest artillery
    cargo build --release -p roundelay
    tests/bench/experiment.py --tools /tmp/tools                  # about a quarter of an hour; let the machine do nothing else
    tests/bench/experiment.py --tools /tmp/tools --repeat 1       # shows that it works, measures nothing

The same Express application (tests/node/app.js) runs alone, behind Node's own cluster and behind each mode of roundelay, and
so does roundelay's demo worker, which is Rust. Each way is set up anew for each repetition; the repetitions of all ways are
interleaved. Prints Markdown: medians, with the least and the greatest of the repetitions, and what used the processors.
Only 127.0.0.1 is loaded; everything that is started is ended.
"""

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "tests/node/app.js"
NODE_CLUSTER = """
const cluster = require('node:cluster');
cluster.setupPrimary({ exec: process.argv[1], args: [], execArgv: [] });
for (let i = 0; i < Number(process.argv[2]); i++) cluster.fork();
"""
TICK = os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", required=True, type=Path, help="folder with node_modules of loadtest and artillery")
    parser.add_argument("--roundelay", type=Path, default=ROOT / "target/release/roundelay")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="workers of the ways that have several")
    parser.add_argument("--paths", default="/,/api/500000,/api/5000000")
    parser.add_argument("--load", default="loadtest,artillery")
    parser.add_argument("--out", type=Path, help="every single run, as JSON")
    asked = parser.parse_args()
    bench = Bench(asked)
    runs = bench.run()
    if asked.out:
        asked.out.write_text(json.dumps(runs, indent=1))
    print(tables(runs, asked))


class Bench:
    """All ways under all loads, again and again."""

    def __init__(self, asked):
        self.asked = asked
        app, demo, many = ["node", str(APP)], None, asked.workers
        self.ways = {
            "Express alone": lambda: self.alone(app),
            f"Express, Node's cluster × {many}": lambda: self.cluster(many),
            f"Express, proxy × {many}": lambda: self.roundelay(many, app),
            f"Express, handoff × {many}": lambda: self.roundelay(many, app, "--mode", "handoff"),
            f"Express, shared × {many}": lambda: self.roundelay(many, app, "--mode", "shared"),
            f"Express, proxy × {4 * many}": lambda: self.roundelay(4 * many, app),
            "demo alone": lambda: self.alone([str(asked.roundelay), "demo-worker"]),
            f"demo, proxy × {many}": lambda: self.roundelay(many, demo),
            f"demo, handoff × {many}": lambda: self.roundelay(many, demo, "--mode", "handoff"),
            f"demo, shared × {many}": lambda: self.roundelay(many, demo, "--mode", "shared"),
            f"demo, reuseport × {many}": lambda: self.roundelay(many, demo, "--mode", "reuseport"),
            f"demo, proxy × {4 * many}": lambda: self.roundelay(4 * many, demo),
        }

    def run(self):
        runs, names = [], list(self.ways)
        for number in range(self.asked.repeat):
            for name in names[number % len(names):] + names[:number % len(names)]:
                for load in self.asked.load.split(","):
                    for path in self.asked.paths.split(","):
                        with self.ways[name]() as way:
                            found = way.measure(self.tool(load, way.port, path))
                        runs.append({"way": name, "load": load, "path": path, "repetition": number} | found)
                        print(f"{name}  {load}  {path}  {found['rps']:.0f}/s", file=sys.stderr)
        return runs

    def tool(self, load, port, path):
        url = f"http://127.0.0.1:{port}{path}"
        tools = self.asked.tools / "node_modules/.bin"
        if load == "loadtest":
            return [str(tools / "loadtest"), "-n", "1000", "-c", "100", url], read_loadtest
        return [str(tools / "artillery"), "quick", "--count", "40", "--num", "50", url], read_artillery

    def alone(self, command):
        return Way(command, {})

    def cluster(self, workers):
        return Way(["node", "-e", NODE_CLUSTER, str(APP), str(workers)], {}, wait_for=workers)

    def roundelay(self, workers, app, *flags):
        command = [str(self.asked.roundelay), "run" if app else "demo", "-i", str(workers), *flags, "--admin", "off"]
        return Way(command, {"app": app}, is_roundelay=True)


class Way:
    """One way to serve, on a free port; its process is ended with the block."""

    def __init__(self, command, more, is_roundelay=False, wait_for=0):
        self.folder = tempfile.mkdtemp()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ROUNDELAY_")}
        environment |= {"PORT": str(self.port), "HOST": "127.0.0.1", "XDG_RUNTIME_DIR": self.folder}
        if is_roundelay:
            del environment["PORT"], environment["HOST"]
            command = [*command, "--listen", f"127.0.0.1:{self.port}", "--control", f"{self.folder}/control"]
            command += ["--", *more["app"]] if more["app"] else []
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.wait_until(self.answers)
            if is_roundelay:
                status = [command[0], "status", "--control", f"{self.folder}/control"]
                self.wait_until(lambda: subprocess.run(status, capture_output=True, env=environment).returncode == 0)
            self.wait_until(lambda: len(family(self.process.pid)) > wait_for)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False

    def wait_until(self, is_so):
        deadline = time.monotonic() + 20
        while not is_so():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.process.args} does not serve")
            time.sleep(0.02)

    def measure(self, tool):
        """What the tool says, and the seconds of processor time of the tool, the process before the workers, and these."""
        command, read = tool
        pids = family(self.process.pid)
        before = {pid: cpu(pid) for pid in pids}
        begun, usage = time.monotonic(), children()
        environment = os.environ | {"ARTILLERY_DISABLE_TELEMETRY": "true", "NO_COLOR": "1"}
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            more = ["--output", out.name] if "artillery" in command[0] else []
            ended = subprocess.run(
                [*command[:-1], *more, command[-1]], env=environment, capture_output=True, text=True, timeout=300)
            if ended.returncode:
                raise RuntimeError(f"{command}: {ended.stdout}{ended.stderr}")
            found = read(ended.stdout, Path(out.name))
        spent = {pid: cpu(pid) - before[pid] for pid in pids}
        first = spent.pop(self.process.pid)
        alone = not spent
        return found | {
            "seconds": time.monotonic() - begun,
            "tool_cpu": children() - usage,
            "master_cpu": 0 if alone else first,
            "workers_cpu": first if alone else sum(spent.values()),
        }


def read_loadtest(text, _):
    number = lambda pattern: float(re.search(pattern, text)[1])
    return {
        "rps": number(r"Effective rps: +(\d+)"),
        "mean": number(r"Mean latency: +([\d.]+) ms"),
        "p50": number(r" 50% +([\d.]+) ms"),
        "p99": number(r" 99% +([\d.]+) ms"),
        "errors": number(r"Total errors: +(\d+)"),
    }


def read_artillery(_, out):
    found = json.loads(out.read_text())["aggregate"]
    counters, times = found["counters"], found["summaries"]["http.response_time"]
    span = (found["lastMetricAt"] - found["firstMetricAt"]) / 1000
    return {
        "rps": counters["http.responses"] / max(span, 0.001),
        "mean": times["mean"],
        "p50": times["p50"],
        "p99": times["p99"],
        "errors": counters.get("vusers.failed", 0) + counters["http.requests"] - counters.get("http.codes.200", 0),
    }


def family(pid):
    """A process and all of its descendants."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                pass
    return found


def cpu(pid):
    """Seconds of processor time of a living process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def children():
    times = os.times()
    return times.children_user + times.children_system


def tables(runs, asked):
    text = []
    for load in asked.load.split(","):
        for path in asked.paths.split(","):
            rows = [run for run in runs if run["load"] == load and run["path"] == path]
            text.append(f"\n### {load}, `{path}`\n")
            text.append("| way | requests/s | mean | p99 | errors | CPU of workers | of the one before them | of the tool |")
            text.append("|---|---:|---:|---:|---:|---:|---:|---:|")
            for way in dict.fromkeys(run["way"] for run in rows):
                text.append(row(way, [run for run in rows if run["way"] == way]))
    return "\n".join(text)


def row(way, runs):
    middle = lambda key: statistics.median(run[key] for run in runs)
    rates = [run["rps"] for run in runs]
    rate = f"{middle('rps'):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
    times = [f"{middle(key):.1f} ms" for key in ("mean", "p99")]
    seconds = [f"{middle(key):.2f} s" for key in ("workers_cpu", "master_cpu", "tool_cpu")]
    return "| " + " | ".join([way, rate, *times, f"{sum(run['errors'] for run in runs):.0f}", *seconds]) + " |"


if __name__ == "__main__":
    main()
