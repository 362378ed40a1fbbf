//! A foreign balancer in front of workers that the setup starts. The balancer does not manage the workers: one that
//! ends is not replaced, and there is no reload and no scaling.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use super::family::Family;
use super::process::{PATIENCE_OF_DROP, Process};
use super::wait::until;
use super::workers::Workers;
use super::{RunningSetup, Setup, SetupError, WorkerProcess, family, folder, ports};
use crate::subject::Product;

/// The longest time that the balancer may take until it accepts connections.
const START: Duration = Duration::from_secs(10);

/// The parameters that a balancer is started with.
pub(super) struct Task<'a> {
    /// The address that clients connect to.
    pub(super) public: SocketAddr,
    /// The addresses of the workers.
    pub(super) workers: &'a [SocketAddr],
    /// A path that answers 200 if a worker is healthy, if there is one.
    pub(super) health: Option<&'static str>,
    /// The folder for its files.
    pub(super) folder: &'a Path,
}

/// The balancer and its workers.
#[derive(Debug)]
pub(super) struct Balanced {
    name: &'static str,
    address: SocketAddr,
    balancer: Process,
    workers: Workers,
    folder: TempDir,
}

impl Balanced {
    /// Starts workers, then the balancer that `command` makes; waits until both accept connections.
    pub(super) fn start(
        name: &'static str,
        product: &Product,
        setup: &Setup,
        command: impl Fn(&Task<'_>) -> Result<Command, SetupError>,
    ) -> Result<Self, SetupError> {
        ports::trying_again(|| {
            let (folder, address) = (folder()?, ports::address()?);
            let workers = Workers::start(product, setup, setup.workers, folder.path())?;
            let health = setup.workload.health();
            let task = Task { public: address, workers: &workers.addresses(), health, folder: folder.path() };
            let balancer = Process::spawn(command(&task)?, folder.path(), name)?;
            let running = Self { name, address, balancer, workers, folder };
            running.wait_ready()?;
            Ok(running)
        })
    }

    fn wait_ready(&self) -> Result<(), SetupError> {
        let Self { name, address, balancer, .. } = self;
        let failed = |what: String| Err(SetupError::Failed(format!("{name} {what}; {}", balancer.last_words())));
        let looked = until(START, || match balancer.exit() {
            Some(exit) => Some(failed(format!("ended before it took connections ({exit})"))),
            None => TcpStream::connect(address).is_ok().then_some(Ok(())),
        });
        looked.unwrap_or_else(|| failed(format!("did not listen on {address} within {START:?}")))
    }

    fn unable(&self) -> SetupError {
        SetupError::Unable(format!("{} does not run the workers", self.name))
    }
}

impl RunningSetup for Balanced {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn balancer(&self) -> Vec<u32> {
        let pid = self.balancer.pid();
        let is_there = self.balancer.exit().is_none();
        is_there.then_some(pid).into_iter().chain(family::children(pid)).collect()
    }

    fn workers(&self) -> Result<Vec<WorkerProcess>, SetupError> {
        Ok(self.workers.living())
    }

    fn reload(&mut self) -> Result<(), SetupError> {
        Err(self.unable())
    }

    fn scale(&mut self, _workers: usize) -> Result<(), SetupError> {
        Err(self.unable())
    }

    fn stop(&mut self, patience: Duration) {
        let family = Family::of(self.folder.path());
        let begun = Instant::now();
        self.balancer.end(patience);
        self.workers.end(patience.saturating_sub(begun.elapsed()));
        family.end(Duration::ZERO);
    }
}

impl Drop for Balanced {
    fn drop(&mut self) {
        self.stop(PATIENCE_OF_DROP);
    }
}

/// Returns the number of client connections that a balancer is configured for, with two descriptors each; fewer if this
/// process may not have so many open files (`hard` is that limit).
pub(super) fn connections(hard: Option<u64>) -> u64 {
    const WANTED: u64 = 20_000;
    /// Descriptors for listeners, logs and libraries.
    const OTHERS: u64 = 200;
    hard.map_or(WANTED, |hard| (hard.saturating_sub(OTHERS) / 2).clamp(1, WANTED))
}

/// Returns the hard limit of open files for a child.
pub(super) fn hard_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balancer_is_asked_for_no_more_than_it_may_have() {
        assert_eq!(connections(None), 20_000);
        assert_eq!(connections(Some(1_000_000)), 20_000);
        assert_eq!(connections(Some(20_000)), 9_900);
        assert_eq!(connections(Some(10)), 1);
    }
}
