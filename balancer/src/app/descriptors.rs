//! Divides the open files that the master may have between connections and everything else.

use crate::config::PoolConfig;
use crate::dispatch::Limits;
use crate::mode::Inherits;
use crate::stats::AcceptLimit;

/// The least number that is kept for everything but client connections.
const FEWEST: u64 = 256;
/// The descriptors that do not depend on the pools: 32 clients each of the admin port and the control socket, and what
/// those read in `/proc`; the log, the spawner and a start that is under way, the runtimes.
const BASE: u64 = 128;
/// The descriptors of one worker: two pipes of its output, its notify socket, its pidfd, a duplicate of its listener or
/// its channel; one for a check or for the listener that it is sent on the channel; one more for a moment at its start.
const PER_WORKER: u64 = 7;
/// The client's socket and the one to its worker.
const PER_CONNECTION: u64 = 2;

/// The number of descriptors that are kept for everything but client connections, where pools have that many workers.
pub(super) fn reserve<'a>(pools: impl Iterator<Item = (&'a PoolConfig, u32)>, threads: usize) -> u64 {
    let of_pool = |(pool, workers): (&PoolConfig, u32)| {
        let processes = u64::from(workers).saturating_add(u64::from(pool.max_surge));
        let an_address = match pool.mode.inherits() {
            // One listener a slot, and a handle of each while clients are rescued from its queue.
            Inherits::SlotListener => u64::from(workers).saturating_mul(2),
            // Each thread has a handle of each public listener, besides the original.
            Inherits::Nothing | Inherits::Channel | Inherits::PublicListeners => threads as u64 + 1,
        };
        let listeners = (pool.listen.len() as u64).saturating_mul(an_address);
        processes.saturating_mul(PER_WORKER).saturating_add(listeners)
    };
    pools.map(of_pool).fold(BASE, u64::saturating_add).max(FEWEST)
}

/// The number of client connections that `files` descriptors allow beside the reserve; at least 1.
fn connections_within(files: u64, reserve: u64) -> usize {
    usize::try_from(files.saturating_sub(reserve) / PER_CONNECTION).unwrap_or(usize::MAX).max(1)
}

/// Returns the limit of client connections: the configured one, but never so many that the reserve is used.
pub(super) fn limits(configured: Option<usize>, files: u64, reserve: u64) -> Limits {
    let fit = connections_within(files, reserve);
    match configured {
        Some(most) if most <= fit => Limits { max_connections: most, set_by: AcceptLimit::MasterMaxConnections },
        _ => Limits { max_connections: fit, set_by: AcceptLimit::OpenFiles },
    }
}

/// Warns if more connections are configured than the open files allow, or if these allow next to none.
pub(super) fn warn_if_few(files: u64, reserve: u64, configured: Option<usize>, allowed: usize) {
    if let Some(max_connections) = configured.filter(|&most| most > allowed) {
        tracing::warn!(
            max_connections,
            open_files = files,
            allowed,
            "master.max-connections is more than the limit of open files allows: raise that (LimitNOFILE=, ulimit -n)"
        );
    }
    if files <= reserve {
        tracing::warn!(
            open_files = files,
            needed = reserve,
            "the limit of open files leaves no room for connections beside the workers: raise it (LimitNOFILE=, ulimit -n)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Program;
    use crate::mode::Mode;

    #[test]
    fn descriptor_limit_bounds_connections_with_a_reserve() {
        assert_eq!([0, 256, 1024, 20_000].map(|files| connections_within(files, 256)), [1, 1, 384, 9_872]);
    }

    #[test]
    fn configured_limit_never_uses_the_reserve() {
        let of = |configured| limits(configured, 1024, 256);
        let by = |max_connections, set_by| Limits { max_connections, set_by };
        assert_eq!(of(None), by(384, AcceptLimit::OpenFiles));
        assert_eq!(of(Some(384)), by(384, AcceptLimit::MasterMaxConnections));
        assert_eq!(of(Some(1000)), by(384, AcceptLimit::OpenFiles));
    }

    #[test]
    fn many_workers_and_threads_are_reserved_for() {
        let pool = PoolConfig { max_surge: 4, ..PoolConfig::new("api", Program::Demo) };
        let addresses = pool.listen.len() as u64;
        assert_eq!(reserve([(&pool, 2)].into_iter(), 2), 256, "few need no more than ever");
        let expected = 128 + 2 * (7 * (1024 + 4) + addresses * 9);
        assert_eq!(reserve([(&pool, 1024), (&pool, 1024)].into_iter(), 8), expected);
        assert_eq!(connections_within(1024, expected), 1);
        let pool = PoolConfig { mode: Mode::Reuseport, ..pool };
        assert_eq!(reserve([(&pool, 1024)].into_iter(), 8), 128 + 7 * (1024 + 4) + addresses * 2 * 1024);
    }
}
