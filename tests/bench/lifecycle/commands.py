"""Scenarios in which the operator commands something: reloads that go well, reloads of workers that do not leave, reloads that
fail."""

import collections
import statistics

from . import load
from .master import DEADLINE, Master, seconds_of
from .row import Row, number

# A cut connection is a failed operation at once; the checker's and the master's clocks are read by different processes.
AT_DEADLINE = (-0.1, 0.5)


def ledgers(reports):
    """The sum of what became of connections, or None where they are not observed. What is not observed of them is not in it."""
    found = [report["connections"] for report in reports if report.get("connections")]
    if not found:
        return None
    words = [word for word in found[0] if all(ledger.get(word) is not None for ledger in found)]
    return {word: sum(ledger[word] for ledger in found) for word in words}


def told(row, codes, reports):
    """Puts exit codes, times and ledgers of commands into a row."""
    counts = collections.Counter(codes)
    ledger = ledgers(reports)
    row.measured |= {"exit_codes": dict(counts), "ledger": ledger}
    took = [report["took_seconds"] for report in reports if "took_seconds" in report]
    if took:
        row.measured["reload_seconds"] = {"median": statistics.median(took), "worst": max(took)}
        row.said.append(f"a reload {number(statistics.median(took))} s (worst {number(max(took))})")
    row.said.append("exit codes " + ", ".join(f"{code} × {count}" for code, count in sorted(counts.items())))
    if ledger is None:
        row.said.append("ledger: not observed")
    else:
        words = ("accepted", "served", "moved", "closed", "rejected", "cut")
        row.said.append("ledger: " + ", ".join(f"{ledger.get(word, 0)} {word}" for word in words if word in ledger))
        if "served" not in ledger:
            row.said.append("ends not observed")
    return ledger


def reload(run, way):
    """Rolling reloads under load: no client may notice."""
    count = run.count("reloads", 100, 3)
    row = Row("reload", way, f"{count} reloads of {run.asked.workers} workers")
    rate = run.rate()
    with Master(run.folder, way, run.asked.workers) as master:
        before = master.state()["generation"]
        with run.load(master.port, load.COOPERATIVE, rate) as running:
            ended = [master.reload() for _ in range(count)]
            row.load(running.finish(run.at_least(rate)))
        grown = master.state()["generation"] - before
    ledger = told(row, [code for code, _, _ in ended], [report for _, report, _ in ended]) or {}
    row.must(row.failed == 0, f"{row.failed} failed")
    row.must(all(code == 0 for code, _, _ in ended), "reloads failed")
    row.must(grown == count, f"the generation grew by {grown}")
    lost = ledger.get("rejected", 0) + ledger.get("cut", 0)
    row.must(lost == 0, f"the ledgers say that {lost} were lost")
    return row


def ignore(run, way):
    """Reloads of workers that do not leave, with clients that do not either: cut at the deadline and at no other time."""
    count = run.count("reloads", 10, 2)
    row = Row("ignore", way, f"{count} reloads of {run.asked.workers} workers that ignore SIGTERM")
    rate = run.rate()
    keys = {"env": {"DEMO_IGNORE_TERM": "1"}, "drain-timeout": "2s", "kill-timeout": "1s"}
    with Master(run.folder, way, run.asked.workers, **keys) as master:
        with run.load(master.port, load.UNWILLING, rate) as running:
            ended = [master.reload() for _ in range(count)]
            report = running.finish(run.asked.seconds or 0)
            row.load(report)
            failed = [(running.begun + failure["ended_seconds"], failure) for failure in report["failures"]]
        deadlines = [seconds_of(event) for event in master.logged(DEADLINE)]
    ledger = told(row, [code for code, _, _ in ended], [report for _, report, _ in ended]) or {}
    early, late = AT_DEADLINE
    stray = [failure for at, failure in failed if not any(early <= at - due <= late for due in deadlines)]
    cut, closed = ledger.get("cut", 0), ledger.get("closed", 0)
    row.measured |= {"deadlines": len(deadlines), "stray": len(stray)}
    row.measured["failed_by_kind"] = {name: kind["failed"] for name, kind in report["kinds"].items()}
    row.said.append(f"{len(deadlines)} deadlines, {len(stray)} failures at another time")
    row.must(not stray, f"{len(stray)} failures at another time, such as {stray[:1]}")
    # A client that is owed nothing is closed by an orderly end, and minds it only if it still had something to say.
    row.must(cut <= row.failed <= cut + closed, f"{row.failed} failed, while {cut} were cut and {closed} closed")
    row.none_of("refused", "connect_timeout", "timeout", "wrong_bytes", "bad_status")
    return row


def bad_release(run, way):
    """Reloads whose new workers do not come up: nothing changes, and the exit code says so."""
    count = run.count("reloads", 20, 4)
    row = Row("bad-release", way, f"{count} reloads that fail")
    rate = run.rate()
    broken = {
        "exits at its start": {"env": {"DEMO_FAIL_START": "1"}},
        "is never ready": {"env": {"DEMO_START_DELAY": "600000"}},
        "does not exist": {"command": ["/nonexistent/server"]},
    }
    with Master(run.folder, way, run.asked.workers, **{"ready-timeout": "2s"}) as master:
        before, ended, kept = master.pids(), [], 0
        with run.load(master.port, load.COOPERATIVE, rate) as running:
            for _ in range(count):
                master.write(**broken[run.random.choice(list(broken))])
                ended.append(master.reload())
                kept += master.pids() == before
            failed_pids = kept
            master.write()
            last, _, said = master.reload()
            row.load(running.finish(run.asked.seconds or 0))
    told(row, [code for code, _, _ in ended], [report for _, report, _ in ended])
    row.measured |= {"pids_kept": failed_pids, "good_release_exit_code": last}
    row.said.append(f"the same pids after {failed_pids} of {count}; the good release after them: exit code {last}")
    row.must(row.failed == 0, f"{row.failed} failed")
    row.must(all(code == 1 for code, _, _ in ended), "a reload did not say that it failed")
    row.must(failed_pids == count, "workers were replaced")
    row.must(last == 0, f"the good release was not taken: {said.strip()}")
    return row
