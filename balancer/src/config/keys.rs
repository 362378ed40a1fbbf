//! The table of all keys: what a file, `--set`, a flag, `config show` and suggestions know, they know from here. Pure.
//!
//! A new option is a field of [`Config`] or [`Pool`], its line here and its entry in `config/roundelay.toml`.

use super::codec::{self, Wrong};
use super::value::Value;
use super::{Config, Pool};

/// One key of a section of `T`.
pub(super) struct Key<T: 'static> {
    /// Below `T`'s own table: `listen`, `health.interval`.
    pub(super) name: &'static str,
    /// Completes "`name` must be …".
    pub(super) expects: &'static str,
    /// Puts the value where it belongs.
    pub(super) read: fn(&mut T, &Value) -> Result<(), Wrong>,
    /// The value as TOML; `None` where nothing need be written.
    pub(super) show: fn(&T) -> Option<String>,
}

macro_rules! key {
    ($target:ty, $name:literal, $($field:ident).+, $codec:ident) => {
        Key {
            name: $name,
            expects: codec::$codec.expects,
            read: |target: &mut $target, value| {
                target.$($field).+ = (codec::$codec.read)(value)?;
                Ok(())
            },
            show: |target: &$target| (codec::$codec.show)(&target.$($field).+),
        }
    };
}

/// Outside of pools.
pub(super) const GLOBAL: &[Key<Config>] = &[
    key!(Config, "master.control", master.control, CONTROL),
    key!(Config, "master.threads", master.threads, THREADS),
    key!(Config, "master.max-connections", master.max_connections, LIMIT_OR_AUTO),
    key!(Config, "master.spawn-rate", master.spawn_rate, RATE),
    key!(Config, "admin.listen", admin.listen, ADMIN_LISTEN),
    key!(Config, "log.level", log.level, LOG_LEVEL),
    key!(Config, "log.format", log.format, LOG_FORMAT),
];

/// Of one pool.
pub(super) const POOL: &[Key<Pool>] = &[
    key!(Pool, "command", program, COMMAND),
    key!(Pool, "cwd", cwd, CWD),
    key!(Pool, "listen", listen, LISTEN),
    key!(Pool, "backlog", backlog, BACKLOG),
    key!(Pool, "workers", workers, WORKERS),
    key!(Pool, "mode", mode, MODE),
    key!(Pool, "strategy", strategy, STRATEGY),
    key!(Pool, "weights", weights, WEIGHTS),
    key!(Pool, "slow-start", slow_start, DURATION_OR_OFF),
    key!(Pool, "endpoint", endpoint, ENDPOINT),
    key!(Pool, "contract", contract, CONTRACT),
    key!(Pool, "ready", ready, READY),
    key!(Pool, "ready-timeout", ready_timeout, DURATION),
    key!(Pool, "min-ready", min_ready, COUNT_OR_ZERO),
    key!(Pool, "proxy-protocol", proxy_protocol, PROXY_PROTOCOL),
    key!(Pool, "connect-timeout", connect_timeout, DURATION),
    key!(Pool, "source-addresses", source_addresses, SOURCE_ADDRESSES),
    key!(Pool, "assignment-timeout", assignment_timeout, DURATION),
    key!(Pool, "idle-timeout", idle_timeout, DURATION_OR_OFF),
    key!(Pool, "half-closed-timeout", half_closed_timeout, DURATION_OR_OFF),
    key!(Pool, "keepalive", keepalive, DURATION_OR_OFF),
    key!(Pool, "hold-timeout", hold_timeout, DURATION_OR_ZERO),
    key!(Pool, "max-connections", max_connections, LIMIT_OR_OFF),
    key!(Pool, "max-connections-per-source", max_connections_per_source, LIMIT_OR_OFF),
    key!(Pool, "drain", drain, DRAIN),
    key!(Pool, "drain-timeout", drain_timeout, DURATION_OR_ZERO),
    key!(Pool, "stop-signal", stop_signal, STOP_SIGNAL),
    key!(Pool, "stop-signal-to", stop_signal_to, STOP_SIGNAL_TO),
    key!(Pool, "kill-timeout", kill_timeout, DURATION_OR_ZERO),
    key!(Pool, "background", background, BACKGROUND),
    key!(Pool, "settle", settle, DURATION_OR_ZERO),
    key!(Pool, "max-surge", max_surge, TIMES),
    key!(Pool, "max-memory", max_memory, SIZE_OR_OFF),
    key!(Pool, "max-age", max_age, DURATION_OR_OFF),
    key!(Pool, "recover-queue", recover_queue, BOOLEAN),
    key!(Pool, "user", user, USER),
    key!(Pool, "group", group, GROUP),
    key!(Pool, "no-new-privs", no_new_privs, BOOLEAN),
    key!(Pool, "limit-nofile", limit_nofile, OPEN_FILES),
    key!(Pool, "limit-core", limit_core, CORE),
    key!(Pool, "health.probe", health.probe, PROBE),
    key!(Pool, "health.interval", health.interval, DURATION),
    key!(Pool, "health.fast-interval", health.fast_interval, DURATION),
    key!(Pool, "health.timeout", health.timeout, DURATION),
    key!(Pool, "health.fall", health.fall, TIMES),
    key!(Pool, "health.rise", health.rise, TIMES),
    key!(Pool, "health.heartbeat", health.heartbeat, DURATION_OR_OFF),
    key!(Pool, "health.hang-timeout", health.hang_timeout, DURATION_OR_OFF),
    key!(Pool, "health.busy-timeout", health.busy_timeout, DURATION_OR_OFF),
    key!(Pool, "restart.backoff", restart.backoff, DURATION),
    key!(Pool, "restart.backoff-max", restart.backoff_max, DURATION),
    key!(Pool, "restart.reset-after", restart.reset_after, DURATION_OR_ZERO),
    key!(Pool, "restart.budget", restart.budget, COUNT_OR_ZERO),
    key!(Pool, "restart.window", restart.window, DURATION),
    key!(Pool, "restart.give-up", restart.give_up, GIVE_UP),
    key!(Pool, "log.to", log.to, LOG_TO),
    key!(Pool, "log.format", log.format, LINE_FORMAT),
    key!(Pool, "log.max-size", log.max_size, FILE_SIZE),
    key!(Pool, "log.keep", log.keep, KEPT_FILES),
    Key {
        name: "env",
        expects: codec::ENV.expects,
        // A stronger place adds to the environment, it does not replace it.
        read: |pool, value| {
            pool.env.extend((codec::ENV.read)(value)?);
            Ok(())
        },
        show: |pool| (codec::ENV.show)(&pool.env),
    },
];

/// Keys of the design that this version does not have: said so rather than "unknown".
pub(super) const LATER: &[&str] = &[];
