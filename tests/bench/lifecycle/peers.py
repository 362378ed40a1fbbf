"""The same Node app behind pm2, behind Node's own cluster, and behind roundelay, each set up as well as it can be."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from kill import free_port

from . import processes
from .master import NO_BACKOFF, Master

HERE = Path(__file__).resolve().parent / "peers"
APP = HERE / "app.js"


class Peer:
    """N workers of the app on one port."""

    def __init__(self, run, workers):
        self.run, self.workers, self.port = run, workers, free_port()
        self.environment = os.environ | {"PORT": str(self.port), "HOST": "127.0.0.1", "LEAVE_MS": str(run.asked.peer_drain)}
        self.process = None
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def pids(self):
        """Its workers now."""
        return [pid for pid in processes.children(self.process.pid) if is_app(pid)]

    def wait_for_new(self, before):
        """Until there is a process that was not there before, and as many as there shall be."""
        is_back = lambda: len(now := self.pids()) >= self.workers and set(now) - set(before)
        processes.wait_until(is_back, "a killed worker was not replaced")

    def wait_ready(self):
        processes.wait_until(lambda: len(self.pids()) >= self.workers, "the workers did not start")

    def stop(self):
        if self.process:
            processes.end(self.process, patience=20)
        # What was started while we stopped it is nobody's child now.
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            if is_app(pid) and self.is_ours(pid):
                processes.kill(pid, signal.SIGKILL)

    def is_ours(self, pid):
        try:
            return f"PORT={self.port}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def is_app(pid):
    """Whether that process runs the app."""
    try:
        return str(APP).encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and processes.is_alive(pid)
    except OSError:
        return False


class Cluster(Peer):
    """Node's cluster module: `cluster.js` forks a new worker, waits until it listens, and lets the old one leave."""

    def start(self):
        self.events, self.changed = [], threading.Condition()
        self.process = subprocess.Popen(
            [node(), HERE / "cluster.js", str(self.workers)], env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        threading.Thread(target=self.read, daemon=True).start()
        self.wait_event("ready", 0)

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.events.append(json.loads(line)["event"])
                self.changed.notify_all()

    def wait_event(self, event, after):
        with self.changed:
            if not self.changed.wait_for(lambda: event in self.events[after:], timeout=120):
                raise TimeoutError(f"cluster.js never said {event}")

    def reload(self):
        before = len(self.events)
        self.process.send_signal(signal.SIGHUP)
        self.wait_event("reloaded", before)
        return 0, {}, ""


class Pm2(Peer):
    """pm2 in cluster mode. Its daemon runs in the foreground as a child of ours, in a folder of its own."""

    def start(self):
        self.command = pm2(self.run)
        home = Path(self.run.folder) / f"pm2-{time.monotonic_ns()}"
        home.mkdir()
        self.environment |= {"PM2_HOME": str(home), "PM2_DISABLE_VERSION_CHECK": "true", "NO_COLOR": "1"}
        app = {
            "name": "app", "script": str(APP), "exec_mode": "cluster", "instances": self.workers, "wait_ready": True,
            "listen_timeout": 10_000, "kill_timeout": 5_000 + self.run.asked.peer_drain, "max_restarts": 1_000_000,
            "out_file": "/dev/null", "error_file": "/dev/null",
        }
        file = home / "ecosystem.config.json"
        file.write_text(json.dumps({"apps": [app]}))
        self.process = subprocess.Popen(
            [node(), self.command, "start", file, "--no-daemon"], env=self.environment, cwd=home,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_ready()
        processes.wait_until(self.is_online, "pm2's workers did not come online", pause=0.3)

    def command(self, *words):
        command = [node(), self.command, *words]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300)

    def is_online(self):
        listed = self.command("jlist").stdout
        try:
            apps = json.loads(listed[listed.index("["):])
        except ValueError:
            return False
        return len(apps) == self.workers and all(app["pm2_env"]["status"] == "online" for app in apps)

    def reload(self):
        ended = self.command("reload", "app")
        return ended.returncode, {}, ended.stderr


class Roundelay(Master):
    """The app as it is, behind roundelay. It catches SIGTERM and says `Connection: close`: so `drain = "signal"`."""

    def __init__(self, run, workers):
        keys = {"command": [node(), str(APP)], "drain": "signal", "env": {"LEAVE_MS": str(run.asked.peer_drain)}}
        super().__init__(run.folder, run.asked.peer_endpoint, workers, **keys, **NO_BACKOFF)

    def wait_for_new(self, before):
        is_back = lambda: None not in (now := self.pids()) and set(now) - set(before)
        processes.wait_until(is_back, "a killed worker was not replaced")


PEERS = {"pm2": Pm2, "cluster": Cluster, "roundelay": Roundelay}


def node():
    found = shutil.which("node")
    if not found:
        raise FileNotFoundError("needs node")
    return found


def pm2(run):
    """The script of pm2: given, or installed into the run's folder."""
    given = run.asked.pm2
    folder = Path(given) if given else Path(run.folder) / "npm"
    script = folder / "node_modules/pm2/bin/pm2"
    if given and not script.exists():
        script = folder if folder.is_file() else folder / "bin/pm2"
    if not script.exists():
        if given:
            raise FileNotFoundError(f"no pm2 in {given}")
        npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, "pm2"]
        subprocess.run(npm, check=True, capture_output=True)
    return script.resolve()


def versions(run):
    """Of what the rows were played with."""
    found = {"node": subprocess.run([node(), "--version"], capture_output=True, text=True).stdout.strip()}
    if "pm2" in run.asked.peers:
        package = json.loads((pm2(run).parents[1] / "package.json").read_text())
        found["pm2"] = package["version"]
    return found
