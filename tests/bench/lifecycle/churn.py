"""What a long life leaves behind."""

import time

from . import processes
from .master import Master
from .row import Row

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
