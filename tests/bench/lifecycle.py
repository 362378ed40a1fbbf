#!/usr/bin/env python3
"""What the life of workers costs the clients: reloads, kills, hangs, crashes under a load that checks every answer.

    tests/bench/lifecycle.py                              # everything, about an hour of a quiet machine
    tests/bench/lifecycle.py --quick                      # the same in a few minutes, to see that it works
    tests/bench/lifecycle.py --rate 2000 reload kill      # two runs at a given rate
    tests/bench/lifecycle.py --targets shared reload      # one way to a worker
    tests/bench/lifecycle.py reload-pm2 reload-cluster reload-roundelay   # the same Node app behind each

Starts masters, peers and loads of its own on free ports of 127.0.0.1 and ends them all. Prints a line of JSON for each
run when it is over, and at the end a table in Markdown. Exits with 0 if every promise held, 1 if one was broken, 3 if
a row is void or could not be played. Needs Python 3.11, Linux 6.9 or newer for the class `truncated` to mean something,
and release builds:

    cargo build --release -p roundelay -p roundelay-checker

The peers need node and npm; pm2 is installed into the run's temporary folder unless --pm2 says where it is.
"""

import argparse
import json
import os
import platform
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from lifecycle import bystanders, faults, load, master, commands
from lifecycle.peers import PEERS, versions
from lifecycle.row import SCHEMA, Row, table
from lifecycle.run import Run, say

# Each run with the ways to a worker it is played behind unless --targets says others.
SCENES = {
    "reload": (commands.reload, ["port", "unix", "inherited", "handoff", "shared", "reuseport"]),
    "ignore": (commands.ignore, ["port"]),
    "kill": (faults.kill, ["port", "unix", "inherited", "handoff"]),
    "stop": (faults.stop, ["port"]),
    "bad-release": (commands.bad_release, ["port"]),
    "crash-loop": (faults.crash_loop, ["port"]),
    "lone": (faults.lone, ["port"]),
    "churn": (bystanders.churn, ["port"]),
}
# What needs counters of connections, which there are none of where workers accept by themselves.
OBSERVED = {"ignore", "stop", "crash-loop"}
BEHIND = {f"reload-{name}": (bystanders.reload_behind(name), name) for name in PEERS}
BEHIND |= {f"kill-{name}": (bystanders.kill_behind(name), name) for name in PEERS}


def words(known):
    def read(text):
        given = text.split(",")
        if wrong := [word for word in given if word not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(wrong)}; there are {', '.join(known)}")
        return given

    return read


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="SCENE", help=f"of {', '.join([*SCENES, *BEHIND])}; all by default")
    parser.add_argument("--targets", type=words(master.WAYS), help=f"ways to a worker, of {', '.join(master.WAYS)}")
    parser.add_argument("--quick", action="store_true", help="few faults, low rates: only shows that it works")
    parser.add_argument("--rate", type=float, help="operations a second [80 %% of what a calibration sustains]")
    parser.add_argument("--seconds", type=float, help="how long each load lasts at least [as long as its faults]")
    parser.add_argument("--operations", type=int, help="of all loads of `reload` together, at least [200000]")
    parser.add_argument("--workers", type=int, default=4, help="of a pool [4]")
    parser.add_argument("--seed", type=int, help="of victims, kinds and tokens [a random one, printed]")
    parser.add_argument("--reloads", type=int, help="in each run that reloads [100, ignore 10, bad-release 20]")
    parser.add_argument("--kills", type=int, help="in each run that kills [200, lone 50]")
    parser.add_argument("--rounds", type=int, help="of stop [10]")
    parser.add_argument("--connections", type=int, help="of churn [50000]")
    parser.add_argument("--peer-reloads", type=int, help="[10]")
    parser.add_argument("--peer-kills", type=int, help="[20]")
    parser.add_argument("--peer-workers", type=lambda text: [int(n) for n in text.split(",")], default=[2, 4], help="[2,4]")
    parser.add_argument("--peer-drain", type=int, default=1000, metavar="MS", help="how long the Node app says Connection: "
                        "close before it accepts no more; 0 is what pm2's documentation shows [1000]")
    parser.add_argument("--peer-endpoint", choices=["port", "unix"], default="port", help="roundelay's before the app [port]")
    parser.add_argument("--pm2", metavar="PATH", help="a folder in which npm has installed pm2, or its script")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything there as JSON")
    asked = parser.parse_args()
    asked.runs = asked.runs or [*SCENES, *BEHIND]
    for name in asked.runs:
        if name not in SCENES and name not in BEHIND:
            parser.error(f"unknown run {name}; there are {', '.join([*SCENES, *BEHIND])}")
    asked.peers = [name for name in PEERS if any(BEHIND.get(run, ("", ""))[1] == name for run in asked.runs)]
    asked.seed = random.getrandbits(32) if asked.seed is None else asked.seed
    return asked


def plan(asked):
    """What is played: name, function, target, and how many rows of that name there are."""
    for name in asked.runs:
        if name in BEHIND:
            run, targets = BEHIND[name][0], asked.peer_workers
        else:
            run, usual = SCENES[name]
            targets = [way for way in asked.targets or usual if name not in OBSERVED or way not in master.UNOBSERVED]
        for target in targets:
            yield name, run, target, len(targets)


def machine(run):
    found = {"kernel": platform.release(), "cpus": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    return found | (versions(run) if run.asked.peers else {})


def play(run, name, run, target, rows):
    """A row, whatever happens."""
    run.rows_of_scene, begun = rows, time.monotonic()
    say(f"{name} behind {target} ...")
    try:
        row = run(run, target)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        row = Row(name, str(target), verdict="error", why=[f"{type(error).__name__}: {error}"])
    say(f"{name} behind {target}: {row.verdict} after {time.monotonic() - begun:.0f} s {'; '.join(row.why)}")
    print(json.dumps(row.line(), ensure_ascii=False), flush=True)
    return row


def main():
    asked = arguments()
    for binary in (master.BINARY, load.BINARY):
        if not binary.exists():
            sys.exit(f"{binary} is missing: cargo build --release -p roundelay -p roundelay-checker")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # As Ctrl-C: what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows, is_interrupted = [], False
    with tempfile.TemporaryDirectory(prefix="roundelay-lifecycle-") as folder:
        run = Run(asked, folder)
        about = {"schema": SCHEMA, "seed": asked.seed, "machine": machine(run), "quick": asked.quick}
        try:
            for name, run, target, count in plan(asked):
                rows.append(play(run, name, run, target, count))
        except KeyboardInterrupt:
            say("interrupted: what is over so far")
            is_interrupted = True
        about["sustained"] = run.rates
    print(f"\nseed {asked.seed}; {json.dumps(about['machine'])}; sustained {json.dumps(run.rates)}\n\n{table(rows)}")
    if asked.out:
        asked.out.write_text(json.dumps(about | {"rows": [row.line() for row in rows]}, indent=1) + "\n")
    if is_interrupted:
        return 130
    verdicts = {row.verdict for row in rows}
    return 1 if "broken" in verdicts else 3 if verdicts - {"held"} else 0


if __name__ == "__main__":
    sys.exit(main())
