//! One worker without a balancer: the cost of a connection by itself.

use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;

use super::family::Family;
use super::process::PATIENCE_OF_DROP;
use super::workers::Workers;
use super::{RunningSetup, Setup, SetupError, WorkerProcess, folder, ports};
use crate::subject::Product;

/// The worker, on the address that clients connect to.
#[derive(Debug)]
pub(super) struct Direct {
    workers: Workers,
    address: SocketAddr,
    folder: TempDir,
}

impl Direct {
    /// Starts it; the setup's number of workers is ignored.
    pub(super) fn start(product: &Product, setup: &Setup) -> Result<Self, SetupError> {
        ports::trying_again(|| {
            let folder = folder()?;
            let workers = Workers::start(product, setup, 1, folder.path())?;
            let none = || SetupError::Failed("no worker was started".to_owned());
            let address = workers.addresses().first().copied().ok_or_else(none)?;
            Ok(Self { workers, address, folder })
        })
    }
}

impl RunningSetup for Direct {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn balancer(&self) -> Vec<u32> {
        Vec::new()
    }

    fn workers(&self) -> Result<Vec<WorkerProcess>, SetupError> {
        Ok(self.workers.living())
    }

    fn reload(&mut self) -> Result<(), SetupError> {
        Err(SetupError::Unable("a single worker without a manager cannot be reloaded".to_owned()))
    }

    fn scale(&mut self, _workers: usize) -> Result<(), SetupError> {
        Err(SetupError::Unable("a single worker without a balancer cannot be scaled".to_owned()))
    }

    fn stop(&mut self, patience: Duration) {
        let family = Family::of(self.folder.path());
        self.workers.end(patience);
        family.end(Duration::ZERO);
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.stop(PATIENCE_OF_DROP);
    }
}
