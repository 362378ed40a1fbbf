#!/usr/bin/env python3
"""What the life of workers costs the clients: reloads, kills, hangs, crashes under a load that checks every answer.

    tests/bench/lifecycle.py                              # everything, about an hour of a quiet machine
    tests/bench/lifecycle.py --quick                      # the same in a few minutes, to see that it works
    tests/bench/lifecycle.py --rate 2000 reload kill      # two scenarios at a given rate
    tests/bench/lifecycle.py --targets shared reload      # one way to a worker

Starts masters and loads of its own on free ports of 127.0.0.1 and ends them all. Prints a line of JSON for each
run when it is over, and at the end a table in Markdown. Exits with 0 if every promise held, 1 if one was broken, 3 if
a row is void or could not be played. Needs Python 3.11, Linux 6.9 or newer for the class `truncated` to mean something,
and release builds:

    cargo build --release -p roundelay -p roundelay-checker

`roundelay drill --against pm2,node-cluster` puts the same faults to others.
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

from lifecycle import churn, commands, faults, load, master
from lifecycle.row import SCHEMA, Row, table
from lifecycle.run import Run, say

# Each scenario with the ways to a worker it is played behind unless --targets says others.
SCENARIOS = {
    "reload": (commands.reload, ["port", "unix", "inherited", "handoff", "shared", "reuseport"]),
    "ignore": (commands.ignore, ["port"]),
    "kill": (faults.kill, ["port", "unix", "inherited", "handoff"]),
    "stop": (faults.stop, ["port"]),
    "bad-release": (commands.bad_release, ["port"]),
    "crash-loop": (faults.crash_loop, ["port"]),
    "lone": (faults.lone, ["port"]),
    "churn": (churn.churn, ["port"]),
}
# What needs counters of connections, which there are none of where workers accept by themselves.
OBSERVED = {"ignore", "stop", "crash-loop"}


def words(known):
    def read(text):
        given = text.split(",")
        if wrong := [word for word in given if word not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(wrong)}; there are {', '.join(known)}")
        return given

    return read


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; all by default")
    parser.add_argument("--targets", type=words(master.WAYS), help=f"ways to a worker, of {', '.join(master.WAYS)}")
    parser.add_argument("--quick", action="store_true", help="few faults, low rates: only shows that it works")
    parser.add_argument("--rate", type=float, help="operations a second [80 %% of what a calibration sustains]")
    parser.add_argument("--seconds", type=float, help="how long each load lasts at least [as long as its faults]")
    parser.add_argument("--operations", type=int, help="of all loads of `reload` together, at least [200000]")
    parser.add_argument("--workers", type=int, default=4, help="of a pool [4]")
    parser.add_argument("--seed", type=int, help="of victims, kinds and tokens [a random one, printed]")
    parser.add_argument("--reloads", type=int, help="in each scenario that reloads [100, ignore 10, bad-release 20]")
    parser.add_argument("--kills", type=int, help="in each scenario that kills [200, lone 50]")
    parser.add_argument("--rounds", type=int, help="of stop [10]")
    parser.add_argument("--connections", type=int, help="of churn [50000]")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything there as JSON")
    asked = parser.parse_args()
    asked.scenarios = asked.scenarios or [*SCENARIOS]
    for name in asked.scenarios:
        if name not in SCENARIOS:
            parser.error(f"unknown scenario {name}; there are {', '.join(SCENARIOS)}")
    asked.seed = random.getrandbits(32) if asked.seed is None else asked.seed
    return asked


def plan(asked):
    """What is played: name, function, target, and how many rows of that name there are."""
    for name in asked.scenarios:
        scenario, usual = SCENARIOS[name]
        targets = [way for way in asked.targets or usual if name not in OBSERVED or way not in master.UNOBSERVED]
        for target in targets:
            yield name, scenario, target, len(targets)


def machine():
    return {"kernel": platform.release(), "cpus": len(os.sched_getaffinity(0)), "python": platform.python_version()}


def play(run, name, scenario, target, rows):
    """A row, whatever happens."""
    run.rows_of_scenario, begun = rows, time.monotonic()
    say(f"{name} behind {target} ...")
    try:
        row = scenario(run, target)
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
        about = {"schema": SCHEMA, "seed": asked.seed, "machine": machine(), "quick": asked.quick}
        try:
            for name, scenario, target, count in plan(asked):
                rows.append(play(run, name, scenario, target, count))
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
