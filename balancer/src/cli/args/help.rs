//! The longer texts of `--help`.

pub(super) const EXAMPLES: &str = "\
Examples:
  roundelay                                  a demo pool on 127.0.0.1:8080
  roundelay run -- node app.js               as many workers as fit this machine
  roundelay run -l :80 -i 4 -- ./server      four workers behind port 80
  roundelay config check                     find mistakes in ./roundelay.toml
  roundelay list                             the pools and workers that run
  roundelay reload                           zero-downtime reload of all pools";

pub(super) const RUN_HELP: &str = "\
Every flag is also an environment variable: --log-level is ROUNDELAY_LOG_LEVEL.
Separate several --listen by commas and several --set by semicolons, as in
ROUNDELAY_SET=\"pool.api.workers=4;log.level=debug\". An empty variable counts as
not set. Where ROUNDELAY_POOL is set, this master is itself a worker of another
master; it then ignores ROUNDELAY_WORKERS, which is the other's count.

The stronger source wins: defaults < file < variables < flags < --set.

Without -c and without a command, the file is the first of ./roundelay.toml,
$XDG_CONFIG_HOME/roundelay/roundelay.toml and /etc/roundelay/roundelay.toml.
With a command no file is searched for, and a file given by -c may lack pools.
The options of the pool (-l -i -s -m --endpoint ...) need a command or a file
with one pool; with several pools, write --set pool.NAME.KEY=VALUE.

Without --listen the public address is 127.0.0.1 with the port of the variable
PORT, else 127.0.0.1:8080. --listen app takes the address that a Node
application listens on (modes handoff and shared). A listening socket that was
passed to this process (LISTEN_FDS, socket activation) is used where its address
is listed, or by its name: --listen fd:NAME.

Each worker gets PORT, HOST, ROUNDELAY_POOL, ROUNDELAY_WORKER (its number, from
0), ROUNDELAY_WORKERS, ROUNDELAY_GENERATION, NODE_APP_INSTANCE, NOTIFY_SOCKET.

Examples:
  roundelay run -- node app.js
  roundelay run -l :80 -i -1 --health /health -- ./server --port {port}
  roundelay run -c production.toml --set pool.api.workers=8";

pub(super) const MESSAGE_HELP: &str = "\
A Node program gets the message by process.on('message'), in modes handoff and
shared; a program made with worker-runtime gets it by Worker::messages(), in mode
handoff. Workers that are still starting do not get it. The exit code is 0 if all
workers got it, 1 if only some did, 6 if none did. It does not say whether the
programs did anything with the message.

Examples:
  roundelay message api '{\"cmd\":\"flush-cache\"}'
  roundelay message api/2 --text reload-config
  roundelay message api - < order.json";

#[cfg(feature = "compare")]
pub(super) const COMPARE_HELP: &str = "\
Starts its own masters and workers on free ports of 127.0.0.1, loads and ends
them; nothing else is touched. A closed loop measures the saturation: each client
sends its next request after the answer. An open loop measures the latency at the
same rates for all, from the moment when each request was due.

EXPR is SCENARIO.WAY.METRIC OP TERM: OP is < <= > >= ==, TERM a number with a unit
(5ms, 900/s) or another metric, also with a factor. Metrics: rps, p50, p90, p99,
p999, errors, cpu, balancer-cpu, workers-cpu, fairness, balancer-memory, gap,
recovery.

Examples:
  roundelay compare --quick
  roundelay compare --quick -- node app.js
  roundelay compare --ways round-robin,haproxy --scenarios churn,kill
  roundelay compare --assert 'kill.round-robin.errors < 5'";

#[cfg(feature = "compare")]
pub(super) const DRILL_HELP: &str = "\
Starts its own masters and workers on free ports of 127.0.0.1 and ends them;
nothing else is touched. Exits with 0 if every promise was kept.

Examples:
  roundelay drill
  roundelay drill --only kill,reload-storm -- node app.js
  roundelay drill --against pm2,node-cluster -- node app.js";
