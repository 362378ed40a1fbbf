"""What a long life leaves behind, and the same reloads and kills behind others."""

import signal
import time

from . import load, processes
from .master import Master
from .commands import told
from .peers import PEERS
from .row import Row, number

# How much the resident memory may grow and still be called the same: allocators keep some.
GROWTH = 4 << 20


def churn(run, way):
    """Many connections come and go: memory and descriptors are what they were."""
    count = run.count("connections", 50_000, 2_000)
    row = Row("churn", way, f"{count:,} connections")
    rate = run.rate()
    with Master(run.folder, way, run.asked.workers) as master:

        def connections(count):
            with run.load(master.port, "one-shot", rate, length=("--count", str(count))) as running:
                report = running.report()
            if master.is_observed:
                processes.wait_until(lambda: master.state()["active"] == 0, "connections are still open")
            time.sleep(1.5)  # for what is closed a moment later: probes, lingering sockets
            return report, processes.resident_bytes(master.pid), processes.open_fds(master.pid)

        _, memory_before, fds_before = connections(max(count // 10, 1))
        report, memory, fds = connections(count)
        row.load(report)
    grown = memory - memory_before
    row.measured |= {"resident_before": memory_before, "resident": memory, "fds_before": fds_before, "fds": fds}
    row.said.append(f"resident memory {memory_before / 2**20:.1f} -> {memory / 2**20:.1f} MiB")
    row.said.append(f"descriptors {fds_before} -> {fds}")
    row.must(row.failed == 0, f"{row.failed} failed")
    row.must(fds <= fds_before, f"{fds - fds_before} descriptors more")
    row.must(grown <= GROWTH, f"{grown} bytes more")
    return row


def rate_of_all(run):
    """For all rows that are compared: the lowest of their rates, so that none is overloaded."""
    kinds = [(name, workers) for name in run.asked.peers for workers in run.asked.peer_workers]
    return min(run.sustained(f"{name} × {workers}", lambda n=name, w=workers: PEERS[n](run, w)) for name, workers in kinds)


def reload_behind(name):
    def run(run, workers):
        """Rolling reloads of the Node app."""
        count = run.count("peer_reloads", 10, 2)
        row = Row(f"reload-{name}", f"{workers} workers", f"{count} reloads")
        rate = rate_of_all(run)
        with PEERS[name](run, workers) as peer:
            with run.load(peer.port, load.COOPERATIVE, rate) as running:
                time.sleep(0.5)
                codes, took, reports = [], [], []
                for _ in range(count):
                    begun = time.monotonic()
                    code, report, _ = peer.reload()
                    took.append(time.monotonic() - begun)
                    codes.append(code)
                    reports.append(report)
                row.load(running.finish(run.asked.seconds or 0))
        if any(reports):
            told(row, codes, reports)
        else:
            row.measured |= {"exit_codes": codes, "reload_seconds": took}
            row.said.append(f"a reload {number(sorted(took)[len(took) // 2])} s (worst {number(max(took))})")
        row.must(row.failed == 0, f"{row.failed} failed")
        row.must(not any(codes), f"exit codes {codes}")
        return row

    return run


def kill_behind(name):
    def run(run, workers):
        """SIGKILL of one worker of the Node app after the other."""
        count = run.count("peer_kills", 20, 4)
        row = Row(f"kill-{name}", f"{workers} workers", f"{count} SIGKILLs")
        rate = rate_of_all(run)
        back = []
        with PEERS[name](run, workers) as peer:
            with run.load(peer.port, load.BUSY, rate) as running:
                time.sleep(0.5)
                for _ in range(count):
                    pids = peer.pids()
                    killed = time.monotonic()
                    processes.kill(run.random.choice(pids), signal.SIGKILL)
                    peer.wait_for_new(pids)
                    back.append(time.monotonic() - killed)
                    time.sleep(run.random.uniform(1, 1.5))
                row.load(running.finish(run.asked.seconds or 0))
        row.measure("back_ms", back, "a new process after")
        row.said.append(f"{row.failed / count:.1f} failed a kill")
        row.none_of("refused", "connect_timeout", "timeout", "truncated", "wrong_bytes", "bad_status")
        return row

    return run
