//! How the open files that the master may have are divided.

use crate::config::Pool;
use crate::mode::Inherits;

/// Kept at least for everything but client connections.
const FEWEST: u64 = 256;
/// Whatever the pools are: the log, the admin port and who asks there, the spawner, the runtimes.
const BASE: u64 = 64;
/// Of one worker: two pipes of its output, its notify socket, a handle of its process, a duplicate of its listener.
const PER_WORKER: u64 = 5;
/// A client's socket and the one to its worker.
const PER_CONNECTION: u64 = 2;

/// How many descriptors are kept for everything but client connections, where pools have that many workers.
pub(super) fn reserve<'a>(pools: impl Iterator<Item = (&'a Pool, u32)>, threads: usize) -> u64 {
    let of_pool = |(pool, workers): (&Pool, u32)| {
        let processes = u64::from(workers).saturating_add(u64::from(pool.max_surge));
        let an_address = match pool.mode.inherits() {
            // One a slot, and a handle of each while somebody is relieved of its queue.
            Inherits::SlotListener => u64::from(workers).saturating_mul(2),
            // Each thread has a handle of each public listener, besides the one that all of them are of.
            Inherits::Nothing | Inherits::Channel | Inherits::PublicListeners => threads as u64 + 1,
        };
        let listeners = (pool.listen.len() as u64).saturating_mul(an_address);
        processes.saturating_mul(PER_WORKER).saturating_add(listeners)
    };
    pools.map(of_pool).fold(BASE, u64::saturating_add).max(FEWEST)
}

/// How many client connections `files` descriptors allow beside the reserve; at least 1.
pub(super) fn connections_within(files: u64, reserve: u64) -> usize {
    usize::try_from(files.saturating_sub(reserve) / PER_CONNECTION).unwrap_or(usize::MAX).max(1)
}

/// Warns where the limit of connections is more than the open files allow, or these allow next to nothing.
pub(super) fn warn_if_few(files: u64, reserve: u64, max_connections: usize) {
    let fit = connections_within(files, reserve);
    if max_connections > fit {
        tracing::warn!(
            max_connections,
            open_files = files,
            fit,
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
    fn the_descriptor_limit_bounds_connections_with_a_reserve() {
        assert_eq!([0, 256, 1024, 20_000].map(|files| connections_within(files, 256)), [1, 1, 384, 9_872]);
    }

    #[test]
    fn many_workers_and_threads_are_reserved_for() {
        let pool = Pool { max_surge: 4, ..Pool::new("api", Program::Demo) };
        let addresses = pool.listen.len() as u64;
        assert_eq!(reserve([(&pool, 2)].into_iter(), 2), 256, "few need no more than ever");
        let expected = 64 + 2 * (5 * (1024 + 4) + addresses * 9);
        assert_eq!(reserve([(&pool, 1024), (&pool, 1024)].into_iter(), 8), expected);
        assert_eq!(connections_within(1024, expected), 1);
        let pool = Pool { mode: Mode::Reuseport, ..pool };
        assert_eq!(reserve([(&pool, 1024)].into_iter(), 8), 64 + 5 * (1024 + 4) + addresses * 2 * 1024);
    }
}
