//! The table of all keys. Files, `--set`, flags, `config show` and suggestions all use it. Pure.
//!
//! A new option needs a field of [`Config`] or [`PoolConfig`], a line here and an entry in `config/roundelay.toml`.

use super::codec::{self, Wrong};
use super::value::Value;
use super::{Config, PoolConfig};

/// One key of a section of `T`.
pub(super) struct Key<T: 'static> {
    /// The name below `T`'s own table, such as `listen` or `health.interval`.
    pub(super) name: &'static str,
    /// Completes "`name` must be …".
    pub(super) expects: &'static str,
    /// Reads the value into its field.
    pub(super) read: fn(&mut T, &Value) -> Result<(), Wrong>,
    /// Returns the value as TOML. `None` where the key need not be written.
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

/// The keys outside of pools.
pub(super) const GLOBAL: &[Key<Config>] = &[
    key!(Config, "master.control", master.control, CONTROL),
    key!(Config, "master.threads", master.threads, THREADS),
    key!(Config, "master.max-connections", master.max_connections, LIMIT_OR_AUTO),
    key!(Config, "master.spawn-rate", master.spawn_rate, RATE),
    key!(Config, "admin.listen", admin.listen, ADMIN_LISTEN),
    key!(Config, "log.level", log.level, LOG_LEVEL),
    key!(Config, "log.format", log.format, LOG_FORMAT),
];

/// The keys of one pool.
pub(super) const POOL: &[Key<PoolConfig>] = &[
    key!(PoolConfig, "command", program, COMMAND),
    key!(PoolConfig, "cwd", cwd, CWD),
    key!(PoolConfig, "listen", listen, LISTEN),
    key!(PoolConfig, "backlog", backlog, BACKLOG),
    key!(PoolConfig, "workers", workers, WORKERS),
    key!(PoolConfig, "mode", mode, MODE),
    key!(PoolConfig, "strategy", strategy, STRATEGY),
    key!(PoolConfig, "weights", weights, WEIGHTS),
    key!(PoolConfig, "slow-start", slow_start, DURATION_OR_OFF),
    key!(PoolConfig, "endpoint", endpoint, ENDPOINT),
    key!(PoolConfig, "socket-passing", socket_passing, SOCKET_PASSING),
    key!(PoolConfig, "ready", ready, READY),
    key!(PoolConfig, "ready-timeout", ready_timeout, DURATION),
    key!(PoolConfig, "min-ready", min_ready, COUNT_OR_ZERO),
    key!(PoolConfig, "proxy-protocol", proxy_protocol, PROXY_PROTOCOL),
    key!(PoolConfig, "connect-timeout", connect_timeout, DURATION),
    key!(PoolConfig, "source-addresses", source_addresses, SOURCE_ADDRESSES),
    key!(PoolConfig, "dispatch-timeout", dispatch_timeout, DURATION),
    key!(PoolConfig, "idle-timeout", idle_timeout, DURATION_OR_OFF),
    key!(PoolConfig, "half-closed-timeout", half_closed_timeout, DURATION_OR_OFF),
    key!(PoolConfig, "keepalive", keepalive, DURATION_OR_OFF),
    key!(PoolConfig, "hold-timeout", hold_timeout, DURATION_OR_ZERO),
    key!(PoolConfig, "max-connections", max_connections, LIMIT_OR_OFF),
    key!(PoolConfig, "max-connections-per-source", max_connections_per_source, LIMIT_OR_OFF),
    key!(PoolConfig, "drain", drain, DRAIN),
    key!(PoolConfig, "drain-timeout", drain_timeout, DURATION_OR_ZERO),
    key!(PoolConfig, "stop-signal", stop_signal, STOP_SIGNAL),
    key!(PoolConfig, "stop-signal-to", stop_signal_to, STOP_SIGNAL_TO),
    key!(PoolConfig, "kill-timeout", kill_timeout, DURATION_OR_ZERO),
    key!(PoolConfig, "background", background, BACKGROUND),
    key!(PoolConfig, "settle", settle, DURATION_OR_ZERO),
    key!(PoolConfig, "max-surge", max_surge, TIMES),
    key!(PoolConfig, "max-memory", max_memory, SIZE_OR_OFF),
    key!(PoolConfig, "max-age", max_age, DURATION_OR_OFF),
    key!(PoolConfig, "recover-queue", recover_queue, BOOLEAN),
    key!(PoolConfig, "user", user, USER),
    key!(PoolConfig, "group", group, GROUP),
    key!(PoolConfig, "no-new-privs", no_new_privs, BOOLEAN),
    key!(PoolConfig, "limit-nofile", limit_nofile, OPEN_FILES),
    key!(PoolConfig, "limit-core", limit_core, CORE),
    key!(PoolConfig, "health.probe", health.probe, PROBE),
    key!(PoolConfig, "health.interval", health.interval, DURATION),
    key!(PoolConfig, "health.fast-interval", health.fast_interval, DURATION),
    key!(PoolConfig, "health.timeout", health.timeout, DURATION),
    key!(PoolConfig, "health.fall", health.fall, TIMES),
    key!(PoolConfig, "health.rise", health.rise, TIMES),
    key!(PoolConfig, "health.heartbeat", health.heartbeat, DURATION_OR_OFF),
    key!(PoolConfig, "health.hang-timeout", health.hang_timeout, DURATION_OR_OFF),
    key!(PoolConfig, "health.busy-timeout", health.busy_timeout, DURATION_OR_OFF),
    key!(PoolConfig, "restart.backoff", restart.backoff, DURATION),
    key!(PoolConfig, "restart.backoff-max", restart.backoff_max, DURATION),
    key!(PoolConfig, "restart.reset-after", restart.reset_after, DURATION_OR_ZERO),
    key!(PoolConfig, "restart.max-exits", restart.max_exits, COUNT_OR_ZERO),
    key!(PoolConfig, "restart.window", restart.window, DURATION),
    key!(PoolConfig, "restart.give-up", restart.give_up, GIVE_UP),
    key!(PoolConfig, "log.to", log.to, LOG_TO),
    key!(PoolConfig, "log.format", log.format, LINE_FORMAT),
    key!(PoolConfig, "log.max-size", log.max_size, FILE_SIZE),
    key!(PoolConfig, "log.keep", log.keep, KEPT_FILES),
    Key {
        name: "env",
        expects: codec::ENV.expects,
        // A stronger source adds to the environment. It does not replace it.
        read: |pool, value| {
            pool.env.extend((codec::ENV.read)(value)?);
            Ok(())
        },
        show: |pool| (codec::ENV.show)(&pool.env),
    },
];

/// Keys of the design that this version does not have. Their error says so instead of "unknown".
pub(super) const LATER: &[&str] = &[];
