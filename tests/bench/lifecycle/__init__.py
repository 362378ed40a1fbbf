"""The parts of `lifecycle.py`, from the lowest up.

| module | what it is |
|---|---|
| `processes` | what the kernel says of processes; how they are ended |
| `load` | the checker as load, its report, the rate that a target sustains |
| `master` | a roundelay master of its own: its file, its log, commands, counters |
| `peers` | the same Node app behind pm2, Node's cluster and roundelay |
| `run` | one run: options, seed, folder, rates |
| `row` | what one run has found, and the table |
| `commands`, `faults`, `bystanders` | the runs: reloads; kills, hangs and crashes; churn and the peers |
"""
