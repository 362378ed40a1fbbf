"""What one run has found: one line of JSON, one row of the table."""

import dataclasses
import statistics

SCHEMA = "roundelay.lifecycle/1"


@dataclasses.dataclass
class Row:
    """The result of one run behind one target."""

    run: str
    target: str
    faults: str = ""
    rate: float = 0
    operations: int = 0
    failed: int = 0
    classes: dict = dataclasses.field(default_factory=dict)
    p99_ms: float | None = None
    seconds: float = 0
    # `held`, `broken`, `void` (the load was the limit), `error` (the run could not be played).
    verdict: str = "held"
    why: list = dataclasses.field(default_factory=list)
    # What else was measured, for the table in `said`.
    measured: dict = dataclasses.field(default_factory=dict)
    said: list = dataclasses.field(default_factory=list)

    def load(self, report):
        """Takes over the report of the load; what was not started makes the row void."""
        self.rate = report["plan"]["rate"]
        self.operations, self.failed = report["started"], report["failed"]
        self.classes = {name: count for name, count in report["classes"].items() if count}
        self.p99_ms, self.seconds = report["latency_seconds"]["p99"] * 1000, report["elapsed_seconds"]
        lag = report["start_lag_seconds"]["p99"] * 1000
        self.measured |= {"kinds": report["plan"]["kinds"], "start_lag_p99_ms": lag}
        if report["not_started"]:
            self.verdict = "void"
            self.why.append(f"{report['not_started']} operations not started: {report['not_started_by_reason']}")

    def must(self, holds, why):
        """The row is broken unless that holds."""
        if not holds:
            self.verdict = "broken"
            self.why.append(why)

    def none_of(self, *classes):
        for name in classes:
            self.must(name not in self.classes, f"{self.classes.get(name)} {name}")

    def measure(self, name, seconds, text):
        """Times, shown as median, p99 and worst in milliseconds."""
        ms = sorted(each * 1000 for each in seconds)
        if not ms:
            return
        p99 = ms[min(len(ms) - 1, int(len(ms) * 0.99))]
        self.measured[name] = {"n": len(ms), "median": statistics.median(ms), "p99": p99, "worst": ms[-1]}
        self.said.append(f"{text} {number(statistics.median(ms))} ms (worst {number(ms[-1])})")

    def line(self):
        return {"schema": SCHEMA, **dataclasses.asdict(self)}


def number(value):
    """Short, with at least two digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


HEAD = [
    "| run | behind | faults | rate | operations | failed | p99 | measured | promise |",
    "|---|---|---|---:|---:|---:|---:|---|---|",
]


def table(rows):
    """The rows in Markdown."""
    lines = list(HEAD)
    for row in rows:
        if row.verdict == "error":
            lines.append(f"| {row.run} | {row.target} | | | | | | {'; '.join(row.why).splitlines()[0]} | error |")
            continue
        classes = ", ".join(f"{count} {name}" for name, count in row.classes.items())
        failed = f"{row.failed}" + (f" ({classes})" if classes else "")
        p99 = "" if row.p99_ms is None else f"{number(row.p99_ms)} ms"
        verdict = row.verdict if row.verdict == "held" else f"**{row.verdict}**: {'; '.join(row.why)}"
        cells = [row.run, row.target, row.faults, f"{row.rate:,.0f}/s", f"{row.operations:,}", failed, p99]
        lines.append("| " + " | ".join([*cells, "; ".join(row.said), verdict]) + " |")
    return "\n".join(lines)
