"""The parts of `lifecycle.py`, from the lowest up.

| module | what it is |
|---|---|
| `processes` | what the kernel says of processes; how they are ended |
| `load` | the checker as load, its report, the rate that a target sustains |
| `log` | a master's log, as it comes |
| `master` | a roundelay master of its own: its file, commands, counters |
| `run` | one run: options, seed, folder, rates |
| `row` | what one run has found, and the table |
| `commands`, `faults`, `churn` | the scenarios: reloads; kills, hangs and crashes; many connections |
"""
