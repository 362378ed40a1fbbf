"""The checker as load: it keeps to its schedule, looks at every byte, and gives every failure a class."""

import json
import signal
import subprocess
import time
from pathlib import Path

from . import processes

ROOT = Path(__file__).resolve().parents[3]
BINARY = ROOT / "target/release/roundelay-checker"

# Operations a second that a calibration tries, and the p99 in seconds at which a rate is too high.
RATES = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000, 12000, 16000]
P99 = 0.1
# Of what was sustained: new processes need CPU, too.
SHARE = 0.8

# Ordinary clients, none of which is owed anything when it has its answer.
COOPERATIVE = "one-shot=6,keep-alive=4"
# With long exchanges, so that a worker dies amid answers and uploads; sessions are always amid one.
BUSY = "one-shot=600,keep-alive=300,upload=30,slow-reader=5,websocket=2"
# Those that do not leave by themselves beside those that do.
UNWILLING = "one-shot=200,stubborn=40,websocket=1"

SIZES = ["--upload-bytes", "65536-262144"]
# Messages of a session, 200 ms apart: short where they are many, longer than a drain elsewhere.
MESSAGES = {BUSY: 10, UNWILLING: 50}


class Load:
    """A load on 127.0.0.1:`port`, from now until `finish`."""

    def __init__(self, folder, port, kinds, rate, seed, length=("--duration", "1d")):
        self.file = Path(folder) / f"load-{time.monotonic_ns()}.json"
        self.rate, self.begun = rate, time.time()
        args = ["--target", f"127.0.0.1:{port}", "--kind", kinds, "--rate", str(rate), "--seed", str(seed), *length]
        args += ["--session-messages", str(MESSAGES.get(kinds, 1))]
        args += ["--timeout", "30s", "--max-open", "20000", "--keep-failures", "100000", "--json", self.file, *SIZES]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        self.process = subprocess.Popen([BINARY, *args], **quiet)

    def finish(self, at_least=0.0):
        """Its report, once it has lasted so many seconds and every open operation has ended."""
        while (left := self.begun + at_least - time.time()) > 0 and self.process.poll() is None:
            time.sleep(min(left, 1))
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.report()

    def report(self):
        """Waits for the end that its length says."""
        _, errors = self.process.communicate()
        if self.process.returncode not in (0, 1, 3) or not self.file.exists():
            raise RuntimeError(f"the checker ended with {self.process.returncode}: {errors.decode().strip()}")
        return json.loads(self.file.read_text())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        processes.end(self.process, signal.SIGINT, patience=45)
        self.process.stderr.close()


def calibrate(folder, port, kinds, seed, seconds, highest):
    """The highest rate at which everything is started and answered, with a p99 below 100 ms."""
    best = None
    for rate in (rate for rate in RATES if rate <= highest):
        with Load(folder, port, kinds, rate, seed, ("--duration", f"{seconds}s")) as load:
            report = load.report()
        if report["failed"] or report["not_started"] or report["latency_seconds"]["p99"] > P99:
            break
        best = rate
    if best is None:
        raise RuntimeError(f"not even {RATES[0]} operations a second were sustained: give --rate")
    return best
