"""Scenarios in which workers die, hang or crash in a loop: only what was in flight on them may be lost."""

import collections
import signal
import statistics
import time

from . import load, processes
from .master import HUNG, NO_BACKOFF, SUSPECT, Master, seconds_of
from .row import Row


def bounded(row, master, before):
    """No more failures than connections broken by a worker's death, and none of a kind that a death does not explain."""
    if master.is_observed:
        broken = master.broken() - before
        recovered = int(master.counter("roundelay_connections_recovered_total"))
        row.measured |= {"open_on_the_dead": broken, "recovered": recovered}
        row.said.append(f"{broken} connections were open on the dead, {recovered} more recovered from their queues")
        row.must(row.failed <= broken, f"{row.failed} failed, and only {broken} connections were open on workers that died")
        row.none_of("truncated")
    else:
        row.said.append("connections on the dead: not observed")
    row.none_of("refused", "connect_timeout", "timeout", "wrong_bytes", "bad_status")


def kills(run, row, master, count, rate, pick, kinds=load.BUSY):
    """Kills workers under load, one after the other, each time when the last is back."""
    before = master.broken() if master.is_observed else 0
    out, executed, ready, active = [], [], [], []
    with run.load(master.port, kinds, rate) as running:
        time.sleep(0.5)
        for _ in range(count):
            mark, slot = master.mark(), pick()
            worker = master.state()["workers"][slot]
            name, killed = f"demo/{slot}", time.time()
            processes.kill(worker["pid"], signal.SIGKILL)
            out.append(master.log.wait("worker died", mark, worker=name)[0] - killed)
            executed.append(master.log.wait("worker executed", mark, worker=name)[0] - killed)
            ready.append(master.log.wait("worker ready", mark, worker=name)[0] - killed)
            active.append(worker.get("active") or 0)
            time.sleep(run.random.uniform(0.05, 0.2))
        row.load(running.finish(run.asked.seconds or 0))
    row.measure("out_of_rotation_ms", out, "out of rotation")
    row.measure("executed_ms", executed, "replacement executed")
    row.measure("ready_ms", ready, "ready")
    if master.is_observed:
        row.measured["open_before_a_kill"] = statistics.mean(active)
    row.said.append(f"{row.failed / count:.2f} failed a kill")
    bounded(row, master, before)
    return row


def kill(run, way):
    """SIGKILL of one worker after the other."""
    count = run.count("kills", 200, 10)
    row = Row("kill", way, f"{count} SIGKILLs, one of {run.asked.workers} workers each")
    rate = run.rate()
    with Master(run.folder, way, run.asked.workers, **NO_BACKOFF) as master:
        return kills(run, row, master, count, rate, lambda: run.random.randrange(run.asked.workers))


def lone(run, way):
    """SIGKILL of the only worker: clients wait."""
    count = run.count("kills", 50, 5)
    row = Row("lone", way, f"{count} SIGKILLs of the only worker")
    rate = run.rate() / run.asked.workers
    with Master(run.folder, way, 1, **NO_BACKOFF) as master:
        return kills(run, row, master, count, rate, lambda: 0, load.COOPERATIVE)


def stop(run, way):
    """SIGSTOP of a worker: it is seen, gets nothing new, and is replaced."""
    count = run.count("rounds", 10, 2)
    row = Row("stop", way, f"{count} SIGSTOPs, one of {run.asked.workers} workers each")
    rate = run.rate()
    suspect, replaced, given = [], [], 0
    with Master(run.folder, way, run.asked.workers, **NO_BACKOFF) as master:
        before = master.broken()
        with run.load(master.port, load.COOPERATIVE, rate) as running:
            time.sleep(1)
            for _ in range(count):
                mark, slot = master.mark(), run.random.randrange(run.asked.workers)
                name, pid, stopped = f"demo/{slot}", master.pids()[slot], time.time()
                processes.kill(pid, signal.SIGSTOP)
                try:
                    at, _ = master.log.wait(SUSPECT, mark, worker=name)
                    given += given_after(master, slot, mark, name)
                    back, _ = master.log.wait("worker ready", mark, worker=name)
                finally:
                    processes.kill(pid, signal.SIGCONT)
                suspect.append(at - stopped)
                replaced.append(back - stopped)
                time.sleep(run.random.uniform(0.5, 1.5))
            row.load(running.finish(run.asked.seconds or 0))
        row.measure("suspect_ms", suspect, "suspect after")
        row.measure("replaced_ms", replaced, "replaced after")
        row.measured["given_to_suspects"] = given
        row.said.append(f"{given} connections given to a suspect")
        bounded(row, master, before)
    row.must(given == 0, f"{given} connections were given to a suspect")
    return row


def given_after(master, slot, mark, name):
    """Connections that a suspect worker was given from now until it is known to be hung."""
    seen, deadline = [], time.monotonic() + 40
    while time.monotonic() < deadline:
        total = int(master.counter("roundelay_worker_connections_total", worker=slot))
        # Counted before it was known: the slot's next process counts on.
        if any(event.get("worker") == name for event in master.logged(HUNG, mark)):
            return max(seen) - min(seen) if seen else 0
        seen.append(total)
        time.sleep(0.1)
    raise TimeoutError(f"{name} was suspect and never known to be hung")


def crash_loop(run, way):
    """All workers but one crash at every start: the one serves, and neither forks nor CPU run away."""
    window = 3 if run.asked.quick else 10
    workers = run.asked.workers
    row = Row("crash-loop", way, f"{workers - 1} of {workers} workers crash at every start, for {window} s")
    rate = run.rate() / workers
    with Master(run.folder, way, workers) as master:
        flag = master.folder / "crash"
        # The workers that are started from now on look whether they are to crash.
        script = f'[ -e "{flag}" ] && [ "$ROUNDELAY_WORKER" != 0 ] && exit 1; exec "$@"'
        master.write(command=["sh", "-c", script, "sh", *master.keys["command"]])
        code, _, said = master.reload()
        if code != 0:
            raise RuntimeError(said)
        with run.load(master.port, load.COOPERATIVE, rate) as running:
            usual = cpu_over(master, window)
            before, mark = master.broken(), master.mark()
            flag.touch()
            begun = time.time()
            for pid in master.pids()[1:]:
                processes.kill(pid, signal.SIGKILL)
            used = cpu_over(master, window)
            # More may have been started while we slept too long.
            started = [event for event in master.logged("worker started", mark) if seconds_of(event) <= begun + window]
            alive = master.state()["workers_ready"]
            row.load(running.finish(run.asked.seconds or 0))
        bounded(row, master, before)
    forks = collections.Counter(event["worker"] for event in started)
    row.measured |= {"forks": dict(forks), "master_cpu_before": usual, "master_cpu": used, "ready": alive}
    row.said.append(f"at most {max(forks.values(), default=0)} starts a worker in {window} s")
    row.said.append(f"master's CPU {used / window:.1%} of one, {usual / window:.1%} before")
    row.must(alive == 1, f"{alive} workers ready")
    return row


def cpu_over(master, seconds):
    before = processes.cpu_seconds(master.pid)
    time.sleep(seconds)
    return processes.cpu_seconds(master.pid) - before
