//! The closed lists that label metrics. Every reason has one word, the same in code, metric, log and page.

/// Declares an enum whose variants each have the word used in metrics and logs.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every variant, in order; `self as usize` indexes it.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];
            /// The number of variants.
            pub const COUNT: usize = Self::ALL.len();

            /// The word in metrics, logs and pages.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }
    };
}

labels! {
    /// The end of a client's connection.
    Outcome {
        /// Both directions ended cleanly.
        Finished = "finished",
        /// The client reset the connection or went away with bytes unread.
        ClientReset = "client_reset",
        /// The client ended its side first, and its last bytes got no answer.
        ClientLeft = "client_left",
        /// The worker reset the connection; the client was given a reset too.
        UpstreamReset = "upstream_reset",
        /// The worker closed its side while the client's bytes were the last to move: a response was pending.
        UpstreamClosed = "upstream_closed",
        /// A drain, or a draining worker, ended it while the client's bytes were the last to move. The pool has never
        /// answered any client: its protocol has no answers, as syslog has none.
        Unanswered = "unanswered",
        /// No worker could be connected to within the dispatch deadline.
        Unreachable = "unreachable",
        /// No worker was in rotation within the dispatch deadline.
        NoUpstream = "no_upstream",
        /// Silent for longer than the idle or half-closed timeout.
        Idle = "idle",
        /// It carried no byte in either direction, and was closed at the limit of connections to make room for a new
        /// client.
        Reclaimed = "reclaimed",
        /// It awaited no response and was silent while its worker or the master drained. It was closed, or ended with
        /// its worker.
        Closed = "closed",
        /// It still awaited a response at a drain deadline, and was reset.
        Cut = "cut",
        /// It was handed over to a worker that does not report how connections end, as Node's do not.
        HandedOver = "handed_over",
    }
}

labels! {
    /// The reason why a client was rejected before it was given to a worker.
    Rejection {
        /// No worker was ready for longer than `hold-timeout`.
        NoWorker = "no_worker",
        /// The master was stopping.
        Shutdown = "shutdown",
        /// Its source address had as many connections open as `max-connections-per-source` allows.
        PerSource = "per_source",
    }
}

labels! {
    /// The reason why `connect` to a worker failed. Another worker was then tried.
    ConnectError {
        /// Nothing listens at the worker's endpoint.
        Refused = "refused",
        /// No answer within `connect-timeout`.
        Timeout = "timeout",
        /// The connection was reset before one byte went either way.
        Reset = "reset",
        /// The worker's accept queue is full (a unix socket reports that at once).
        Busy = "busy",
        /// Every source port to the worker is in use.
        NoPort = "no_port",
        /// Anything else, such as no free descriptor.
        Other = "other",
    }
}

labels! {
    /// The reason why `accept` failed on the public listener.
    AcceptError {
        /// Out of descriptors or memory: accepting pauses.
        Exhausted = "exhausted",
        /// The connection ended in the queue, or the kernel refused it. The next one is accepted.
        Other = "other",
    }
}

labels! {
    /// The reason why clients wait in the kernel although workers are ready. The most serious comes first.
    AcceptLimit {
        /// `accept` failed because descriptors or memory were used up.
        Exhausted = "exhausted",
        /// The master has as many connections as its limit of open files allows, less a reserve.
        OpenFiles = "open_files",
        /// A worker has as many descriptors open as its own limit allows.
        WorkerOpenFiles = "worker_open_files",
        /// `master.max-connections` is reached.
        MasterMaxConnections = "master_max_connections",
        /// `max-connections` of the pool is reached.
        MaxConnections = "max_connections",
    }
}

labels! {
    /// The reason why a worker was replaced.
    Restart {
        /// It ended by itself.
        Crash = "crash",
        /// It announced on its channel that it leaves, or closed the channel. A Node application does so to be
        /// replaced.
        Left = "left",
        /// It never became ready.
        NeverReady = "never_ready",
        /// It was hung, and killed.
        Hung = "hung",
        /// It was busy for longer than `busy-timeout` while clients waited. Another process was started beside it.
        Busy = "busy",
        /// It used more than `max-memory`.
        Memory = "memory",
        /// It was older than `max-age`.
        Age = "age",
        /// Another program removed the path of its unix endpoint, so that no connection reaches it any more.
        Removed = "endpoint_removed",
        /// A command replaced it: a reload or a restart.
        Command = "command",
    }
}

labels! {
    /// The result of a health probe.
    Check {
        /// The worker gave a good answer.
        Ok = "ok",
        /// The worker refused, or gave a wrong answer.
        Fail = "fail",
        /// The worker did not answer in time.
        Timeout = "timeout",
    }
}

labels! {
    /// A worker's output stream.
    Stream {
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
    }
}

labels! {
    /// The result of an operation on a pool.
    OperationResult {
        /// It was carried out, and no client was lost as far as that was observed.
        Done = "done",
        /// It was carried out, and clients were lost.
        Lost = "lost",
        /// It was begun and not completed.
        Failed = "failed",
        /// It was not begun.
        Refused = "refused",
    }
}

labels! {
    /// The fate of a connection of a pool during an operation.
    Fate {
        /// Accepted.
        Accepted = "accepted",
        /// Ended as both ends wanted.
        Served = "served",
        /// Given to a worker other than the first.
        Moved = "moved",
        /// Ended by the client while an answer was pending.
        ClientEnded = "client_ended",
        /// Ended by the worker or by a drain, in a pool that has never answered any client.
        Unanswered = "unanswered",
        /// Idle. Closed so that a drain could end, or by `idle-timeout`, or ended with its worker.
        Closed = "closed",
        /// Rejected, or not connected to a worker in time. Lost.
        Rejected = "rejected",
        /// Cut, or ended without the answer by a worker that was told to end. Lost.
        Cut = "cut",
    }
}

impl Fate {
    /// Returns true for an end of a connection. Node's workers do not report these.
    pub const fn is_end(self) -> bool {
        !matches!(self, Fate::Accepted | Fate::Moved | Fate::Rejected)
    }
}
