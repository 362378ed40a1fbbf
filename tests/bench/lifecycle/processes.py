"""What the kernel says of processes, and how ours are ended: by pid, the polite signal first."""

import os
import signal
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
# Linux shows a page's worth of memory as one.
PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid):
    """User and system time of one process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def open_fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def children(pid):
    """The pids of its children, whichever of its threads forked them."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # a thread that ended meanwhile
    return sorted(found)


def is_alive(pid):
    """Whether it runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(holds, what, seconds=30, pause=0.02):
    """Returns what `holds` returns as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(pause)
    return found


def end(process, how=signal.SIGTERM, patience=30):
    """Ends a child of ours and returns its exit code; what does not end in time is killed."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def kill(pid, how):
    """Signals a process that may just have ended; whether it was there."""
    try:
        os.kill(pid, how)
        return True
    except ProcessLookupError:
        return False
