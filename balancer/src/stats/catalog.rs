//! Every metric in one place: name, kind, labels, help, buckets.
//!
//! Labels come from the configuration and from the closed lists of this module's siblings, never from traffic: no pid,
//! no address, no text. Metrics use base units. The name of a counter ends in `_total`. Every series exists from the
//! start, with 0. The counters of a worker belong to its slot: they fall only when the master ends.
//!
//! `docs/metrics.md` is written from this table.

use super::{CONNECT_BUCKETS, DURATION_BUCKETS, SPAWN_BUCKETS};

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Grows until the master ends, and never falls.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts observations by size, with these upper bounds.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The names of its labels, in order.
    pub labels: &'static [&'static str],
    /// Its meaning, on one line.
    pub help: &'static str,
}

impl Kind {
    /// Returns the word in `# TYPE` lines and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        }
    }
}

macro_rules! catalog {
    ($($constant:ident = $kind:expr, $name:literal [$($label:literal)*] $help:literal;)+) => {
        $(#[doc = $help] pub const $constant: Metric =
            Metric { name: $name, kind: $kind, labels: &[$($label),*], help: $help };)+

        /// Every metric, in the order of the document.
        pub const ALL: &[Metric] = &[$($constant),+];
    };
}

use Kind::{Counter, Gauge, Histogram};

catalog! {
    BUILD_INFO = Gauge, "roundelay_build_info" ["version"]
        "What is running; always 1.";
    START_TIME = Gauge, "roundelay_start_time_seconds" []
        "When the master started, in Unix time.";
    ADMIN_REQUESTS = Counter, "roundelay_admin_requests_total" ["route" "code"]
        "Requests answered on the control socket and the admin port.";

    POOL_INFO = Gauge, "roundelay_pool_info" ["pool" "strategy" "mode"]
        "How a pool distributes connections; always 1.";
    POOL_WORKERS_DESIRED = Gauge, "roundelay_pool_workers_desired" ["pool"]
        "Workers configured.";
    POOL_WORKERS = Gauge, "roundelay_pool_workers" ["pool" "state"]
        "Workers in each state.";
    POOL_GENERATION = Gauge, "roundelay_pool_generation" ["pool"]
        "The present generation, which a reload bumps.";
    POOL_STATE = Gauge, "roundelay_pool_state" ["pool" "state"]
        "1 for the state that the pool is in, as list and status say it.";
    POOL_READY = Gauge, "roundelay_pool_ready" ["pool"]
        "1 while at least min-ready workers are in rotation and the master is not stopping.";

    OPERATIONS = Counter, "roundelay_operations_total" ["pool" "verb" "result"]
        "Reloads, scalings, restarts, stops, starts and changes of strategy by command, by how they ended.";
    OPERATION_CONNECTIONS = Counter, "roundelay_operation_connections_total" ["pool" "verb" "outcome"]
        "Connections during such operations, by what became of them; rejected and cut are lost clients.";

    CONNECTIONS_ACCEPTED = Counter, "roundelay_connections_accepted_total" ["pool"]
        "Connections accepted on the public listeners.";
    CONNECTIONS_RECOVERED = Counter, "roundelay_connections_recovered_total" ["pool"]
        "Connections that no worker had accepted when theirs was gone, and that were given to another with all they had sent.";
    CONNECTIONS_DISPLACED = Counter, "roundelay_connections_displaced_total" ["pool"]
        "Connections that source-hash gave to another worker than their client's own, which was hung, ejected or away.";
    CONNECTIONS_ACTIVE = Gauge, "roundelay_connections_active" ["pool"]
        "Client connections open now.";
    CONNECTIONS_LIMIT = Gauge, "roundelay_connections_limit" ["pool"]
        "Client connections that may be open at once; more wait in the kernel. 0 if there is no limit.";
    CONNECTIONS_REJECTED = Counter, "roundelay_connections_rejected_total" ["pool" "reason"]
        "Clients rejected before they were given to a worker.";
    CONNECTIONS_UNASSIGNED = Counter, "roundelay_connections_unassigned_total" ["pool" "reason"]
        "Accepted connections that ended without a worker.";
    ACCEPT_ERRORS = Counter, "roundelay_accept_errors_total" ["pool" "reason"]
        "Failed accept calls on the public listeners.";
    ACCEPT_LIMITED = Gauge, "roundelay_accept_limited" ["pool" "reason"]
        "1 while clients wait in the kernel because of that limit, and for two seconds afterwards.";
    ACCEPT_LIMITED_EPISODES = Counter, "roundelay_accept_limited_total" ["pool" "reason"]
        "Times that clients began to wait in the kernel because of that limit.";
    LISTENER_REVIVED = Counter, "roundelay_listener_revived_total" ["pool"]
        "Times a listener that workers hold too was found shut down by one of them and made to listen again.";
    CONNECTION_DURATION = Histogram(DURATION_BUCKETS), "roundelay_connection_duration_seconds" ["pool"]
        "From accept to the end of both directions.";
    CONNECTION_FIRST_BYTE = Histogram(DURATION_BUCKETS), "roundelay_connection_first_byte_seconds" ["pool"]
        "From accept to the worker's first byte.";
    CONNECT_DURATION = Histogram(CONNECT_BUCKETS), "roundelay_connect_duration_seconds" ["pool"]
        "From the master's connect to the connection with the worker, or from a handoff until the worker has taken it.";

    WORKER_CONNECTIONS = Counter, "roundelay_worker_connections_total" ["pool" "worker"]
        "Connections given to the worker; a recovered one counts for both.";
    WORKER_CONNECTIONS_ACTIVE = Gauge, "roundelay_worker_connections_active" ["pool" "worker"]
        "Connections the worker has now.";
    WORKER_WAITING = Gauge, "roundelay_worker_waiting" ["pool" "worker"]
        "Connections whose client waits for the worker's answer, or that it has not taken yet, while it is in rotation.";
    WORKER_WEIGHT = Gauge, "roundelay_worker_weight" ["pool" "worker"]
        "What the worker weighs beside the others now, less during a slow start; 0 while it is out of rotation.";
    WORKER_CONNECT_ERRORS = Counter, "roundelay_worker_connect_errors_total" ["pool" "worker" "reason"]
        "Connects to the worker that failed, or connections handed over that it did not take.";
    WORKER_RETRIES = Counter, "roundelay_worker_retries_total" ["pool" "worker"]
        "Connections moved to another worker before one byte: after a failed connect, or since the worker drained.";
    CONNECTION_CLOSES = Counter, "roundelay_connection_closes_total" ["pool" "worker" "reason"]
        "Connections of the worker that ended, by how.";
    BYTES = Counter, "roundelay_bytes_total" ["pool" "worker" "direction"]
        "Bytes relayed: rx from clients to the worker, tx from the worker to clients.";

    WORKER_STATE = Gauge, "roundelay_worker_state" ["pool" "worker" "state"]
        "1 for the worker's present state, 0 for the others.";
    WORKER_UP = Gauge, "roundelay_worker_up" ["pool" "worker"]
        "1 while the worker is ready: healthy, and in rotation.";
    WORKER_START_TIME = Gauge, "roundelay_worker_start_time_seconds" ["pool" "worker"]
        "When the present process was started, in Unix time; 0 while there is none.";
    WORKER_RESTARTS = Counter, "roundelay_worker_restarts_total" ["pool" "worker" "reason"]
        "Replacements of the worker's process, by why.";
    WORKER_LAST_EXIT_CODE = Gauge, "roundelay_worker_last_exit_code" ["pool" "worker"]
        "How its last process ended: the exit code, 128 + n for signal n, -1 while none has.";
    WORKER_BACKOFF = Gauge, "roundelay_worker_backoff_seconds" ["pool" "worker"]
        "The whole wait before its next start; 0 while it does not wait.";
    WORKER_SPAWN_DURATION = Histogram(SPAWN_BUCKETS), "roundelay_worker_spawn_duration_seconds" ["pool"]
        "From a worker's spawn to ready.";
    WORKER_CPU = Counter, "roundelay_worker_cpu_seconds_total" ["pool" "worker"]
        "CPU time of the worker's process groups, over restarts, as far as looks at it saw it.";
    WORKER_MEMORY = Gauge, "roundelay_worker_resident_memory_bytes" ["pool" "worker"]
        "Resident memory of the worker's process group; pages that its processes share count in each.";
    WORKER_OPEN_FDS = Gauge, "roundelay_worker_open_fds" ["pool" "worker"]
        "Open descriptors of the worker's process group, where the master may see them.";
    WORKER_THREADS = Gauge, "roundelay_worker_threads" ["pool" "worker"]
        "Threads of the worker's process group.";

    HEALTH_CHECKS = Counter, "roundelay_health_checks_total" ["pool" "worker" "result"]
        "Health probes, by what they said.";
    HEALTH_CHECK_DURATION = Histogram(CONNECT_BUCKETS), "roundelay_health_check_duration_seconds" ["pool"]
        "How long health probes took.";
    HEALTH_TRANSITIONS = Counter, "roundelay_health_transitions_total" ["pool" "worker"]
        "Flips of the worker between healthy and unhealthy.";

    WORKER_MESSAGES = Counter, "roundelay_worker_messages_total" ["pool" "worker" "direction"]
        "Messages on the worker's channel: from its program, and to it by command.";

    LOG_LINES = Counter, "roundelay_log_lines_total" ["pool" "worker" "stream"]
        "Lines of the worker that were written to its pool's log.";
    LOG_DROPPED = Counter, "roundelay_log_dropped_total" ["pool" "worker" "stream"]
        "Lines of the worker that were dropped because its pool's log was too slow or could not be written.";

    PROCESS_CPU = Counter, "process_cpu_seconds_total" []
        "User and system CPU time of the master.";
    PROCESS_MEMORY = Gauge, "process_resident_memory_bytes" []
        "Resident memory of the master.";
    PROCESS_VIRTUAL_MEMORY = Gauge, "process_virtual_memory_bytes" []
        "Virtual memory of the master.";
    PROCESS_OPEN_FDS = Gauge, "process_open_fds" []
        "Open descriptors of the master.";
    PROCESS_MAX_FDS = Gauge, "process_max_fds" []
        "How many descriptors the master may have open.";
    PROCESS_THREADS = Gauge, "process_threads" []
        "Threads of the master.";
    PROCESS_START_TIME = Gauge, "process_start_time_seconds" []
        "When the master's process started, in Unix time.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_their_kind_and_unit_and_are_unique() {
        for (i, metric) in ALL.iter().enumerate() {
            let name = metric.name;
            assert_eq!(ALL.iter().position(|other| other.name == name), Some(i), "{name} twice");
            assert!(name.starts_with("roundelay_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert_eq!(
                matches!(metric.kind, Kind::Histogram(_)),
                name.ends_with("_duration_seconds") || name.ends_with("_byte_seconds")
            );
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{name}");
        }
    }

    #[test]
    fn labels_come_from_a_short_list() {
        let allowed =
            ["pool", "worker", "reason", "state", "direction", "result", "stream", "route", "code", "verb", "outcome"];
        // Facts of the configuration and the build are labels of series that are always 1.
        let facts = ["version", "strategy", "mode"];
        for metric in ALL {
            for label in metric.labels {
                let is_fact = metric.name.ends_with("_info") && facts.contains(label);
                assert!(allowed.contains(label) || is_fact, "{}: {label}", metric.name);
            }
        }
    }
}
