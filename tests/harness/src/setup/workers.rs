//! Workers that the setup itself starts, for ways that do not manage workers. Each is a program on its own port and
//! gets the same variables as from `roundelay run`.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::process::{Process, command};
use super::wait::until;
use super::workload::filled;
use super::{Setup, SetupError, WorkerProcess, ports};
use crate::subject::Product;

/// The longest time until all of them accept connections.
const START: Duration = Duration::from_secs(15);

/// The workers. One that ends is not replaced: without a manager these ways have no replacement.
#[derive(Debug)]
pub(crate) struct Workers {
    all: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    name: String,
    address: SocketAddr,
    process: Process,
}

impl Workers {
    /// Starts that many, and waits until each accepts connections.
    ///
    /// # Errors
    ///
    /// [`SetupError::Failed`] with the last lines of a worker that does not.
    pub(crate) fn start(product: &Product, setup: &Setup, count: usize, folder: &Path) -> Result<Self, SetupError> {
        let mut all = Vec::with_capacity(count);
        for (slot, port) in ports::free(count)?.into_iter().enumerate() {
            all.push(Worker::start(product, setup, (slot, count), port, folder)?);
        }
        let begun = Instant::now();
        for worker in &all {
            worker.wait_ready(START.saturating_sub(begun.elapsed()))?;
        }
        Ok(Self { all })
    }

    /// Returns their addresses.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.all.iter().map(|worker| worker.address).collect()
    }

    /// Returns those that live.
    pub(crate) fn living(&self) -> Vec<WorkerProcess> {
        let living = self.all.iter().filter(|worker| worker.process.exit().is_none());
        living.map(|worker| WorkerProcess { name: worker.name.clone(), pid: worker.process.pid() }).collect()
    }

    /// Ends them all at the same time, in order for at most that long.
    pub(crate) fn end(&mut self, patience: Duration) {
        let begun = Instant::now();
        self.all.iter().for_each(|worker| worker.process.ask_to_end());
        for worker in &mut self.all {
            worker.process.end(patience.saturating_sub(begun.elapsed()));
        }
    }
}

impl Worker {
    fn start(
        product: &Product,
        setup: &Setup,
        (slot, count): (usize, usize),
        port: u16,
        folder: &Path,
    ) -> Result<Self, SetupError> {
        let words = setup.workload.words(product);
        let [program, arguments @ ..] = words.as_slice() else {
            return Err(SetupError::Unable("the program to run has no words".to_owned()));
        };
        let (pool, slot_text) = (setup.workload.pool(), slot.to_string());
        let mut worker = command(program, folder);
        worker.args(arguments.iter().map(|argument| filled(argument, port))).envs(&setup.worker_env);
        worker.envs([("PORT", port.to_string().as_str()), ("HOST", "127.0.0.1"), ("ROUNDELAY_POOL", pool)]);
        worker.envs([("ROUNDELAY_WORKER", slot_text.as_str()), ("ROUNDELAY_WORKERS", count.to_string().as_str())]);
        worker.env("NODE_APP_INSTANCE", &slot_text);
        let process = Process::spawn(worker, folder, &format!("worker-{slot}"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self { name: format!("{pool}/{slot}"), address, process })
    }

    fn wait_ready(&self, patience: Duration) -> Result<(), SetupError> {
        let Self { name, address, process } = self;
        let failed = |what: String| Err(SetupError::Failed(format!("{name} {what}; {}", process.last_words())));
        let looked = until(patience, || match process.exit() {
            Some(exit) => Some(failed(format!("ended before it took connections ({exit})"))),
            None => TcpStream::connect(address).is_ok().then_some(Ok(())),
        });
        looked.unwrap_or_else(|| failed(format!("did not listen on {address} (its PORT) within {START:?}")))
    }
}
