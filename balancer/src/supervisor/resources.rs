//! The resources that all pools of one master share.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::SpawnBudget;
use super::worker::spec::Surroundings;
use crate::config;
use crate::os::accept_queue::{Listening, PeerId, QueueReader, ServerSide, Where};
use crate::os::child::Launcher;
use crate::os::limits::LONGEST_UNIX_PATH;
use crate::os::ports::Ports;
use crate::os::run_dir::RunDirs;
use crate::output::Output;
use crate::rotation::Endpoint;

/// The resources shared by all pools of one master.
pub struct Resources {
    /// Starts and ends processes.
    pub launcher: Arc<dyn Launcher>,
    /// Takes in the output of the processes.
    pub output: Output,
    /// This master's own folders, for notify sockets and unix endpoints.
    pub run_dirs: RunDirs,
    /// The directory in which the master was started, by the name that workers see.
    pub start_dir: Option<PathBuf>,
    /// The master's own environment, from which a worker's is made.
    pub inherited: Vec<(OsString, OsString)>,
    /// The soft limit of open files that workers get.
    pub nofile: Option<u64>,
    paths: AtomicU64,
    node_ids: AtomicU64,
    ports: Mutex<Ports>,
    budget: Mutex<SpawnBudget>,
    queues: Mutex<Option<QueueReader>>,
}

impl Resources {
    /// Creates resources with a full budget and all ports free.
    pub fn new(
        launcher: Arc<dyn Launcher>,
        output: Output,
        run_dirs: RunDirs,
        start_dir: Option<PathBuf>,
        nofile: Option<u64>,
        budget: SpawnBudget,
    ) -> Self {
        let ports = Mutex::new(Ports::new(fastrand::u64(..)));
        let inherited = std::env::vars_os().collect();
        Self {
            launcher,
            output,
            run_dirs,
            start_dir,
            inherited,
            nofile,
            paths: AtomicU64::new(1),
            node_ids: AtomicU64::new(1),
            ports,
            budget: Mutex::new(budget),
            queues: Mutex::default(),
        }
    }

    /// Returns the parts of the master's own surroundings that a worker gets.
    pub(super) fn surroundings(&self) -> Surroundings<'_> {
        Surroundings { inherited: &self.inherited, start_dir: self.start_dir.as_deref(), nofile: self.nofile }
    }

    /// Returns an unused path for a socket that the master binds and a worker of the pool sends to.
    ///
    /// # Errors
    ///
    /// If there is no folder for it, or it is too long for a unix socket: 107 bytes, since `sun_path` has 108 and the
    /// last one is the terminating zero.
    pub(super) fn fresh_notify(&self, pool: &config::PoolConfig) -> io::Result<PathBuf> {
        self.fresh(&self.run_dirs.ours(owner(pool))?, 'n')
    }

    /// Creates the folder of a notify socket again if it was removed.
    ///
    /// # Errors
    ///
    /// If the folder cannot be created at the path that the worker knows.
    pub(super) fn ensure_folder(&self, notify: &Path, pool: &config::PoolConfig) -> io::Result<()> {
        let folder = self.run_dirs.ours(owner(pool))?;
        if notify.parent() == Some(&folder) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Lets a worker of the pool send to the socket at that path, which came from [`Resources::fresh_notify`].
    ///
    /// # Errors
    ///
    /// If the socket cannot be given to the worker's user.
    pub(super) fn hand_over(&self, notify: &Path, pool: &config::PoolConfig) -> io::Result<()> {
        // Only the master can create files in that folder, so this is the socket. `lchown` would not follow a link in
        // any case.
        owner(pool).map_or(Ok(()), |uid| std::os::unix::fs::lchown(notify, Some(uid), None))
    }

    /// Returns an unused path on which a worker of the pool listens.
    ///
    /// # Errors
    ///
    /// As [`Resources::fresh_notify`].
    pub(super) fn fresh_endpoint(&self, pool: &config::PoolConfig) -> io::Result<Endpoint> {
        let path = self.fresh(&self.run_dirs.theirs(owner(pool))?, 'w')?;
        Ok(owner(pool).map_or_else(|| Endpoint::Unix(path.clone()), |uid| Endpoint::UnixOf(path.clone(), uid)))
    }

    /// Returns an unused path for a listener that the master binds and connects to itself.
    ///
    /// # Errors
    ///
    /// As [`Resources::fresh_notify`].
    pub(super) fn fresh_listener(&self) -> io::Result<PathBuf> {
        self.fresh(&self.run_dirs.ours(None)?, 'w')
    }

    fn fresh(&self, folder: &Path, kind: char) -> io::Result<PathBuf> {
        fitting(folder.join(format!("{kind}{}", self.paths.fetch_add(1, Ordering::Relaxed))))
    }

    /// Returns a number that no worker of this master has had, as Node's cluster counts its workers.
    pub(super) fn fresh_node_id(&self) -> u64 {
        self.node_ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn take_port(&self) -> io::Result<u16> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn give_back_port(&self, port: u16) {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).give_back(port);
    }

    /// Returns the number of connections that wait to be accepted at each of these private endpoints; `None` if no
    /// socket listens there.
    pub(super) fn queued(&self, endpoints: &[&Endpoint]) -> Vec<io::Result<Option<u32>>> {
        let places: Vec<_> = endpoints.iter().filter_map(|endpoint| place(endpoint)).collect();
        let mut found = match self.with_queues(|reader| Ok(reader.look(&places))) {
            Ok(found) => found.into_iter(),
            Err(error) => return endpoints.iter().map(|_| Err(io::Error::from(error.kind()))).collect(),
        };
        let sum =
            |listening: Vec<Listening>| (!listening.is_empty()).then(|| listening.iter().map(|one| one.queued).sum());
        let each = endpoints.iter().map(|endpoint| match place(endpoint) {
            Some(_) => found.next().unwrap_or_else(|| Ok(Vec::new())).map(sum),
            None => Ok(Some(0)),
        });
        each.collect()
    }

    /// Returns the connections that were made to a private endpoint.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell.
    pub(super) fn connections(&self, endpoint: &Endpoint) -> io::Result<Vec<ServerSide>> {
        self.with_queues(|reader| match place(endpoint) {
            Some(Where::Tcp(address)) => reader.tcp_connections(address),
            Some(Where::Unix(path)) => reader.unix_connections(path),
            None => Ok(Vec::new()),
        })
    }

    /// Returns true if the program behind a private endpoint has accepted the connection that came from that peer. Also
    /// returns true if the kernel does not tell: then it is only known that the kernel itself accepted the connection.
    pub(super) fn is_taken(&self, endpoint: &Endpoint, from: PeerId) -> bool {
        let taken = self.with_queues(|reader| match (place(endpoint), from) {
            (Some(Where::Tcp(address)), PeerId::Address(peer)) => reader.is_taken(address, peer),
            (Some(Where::Unix(path)), from) => {
                let is_untaken = |side: &ServerSide| side.inode.is_none() && side.peer == Some(from);
                reader.unix_connections(path).map(|sides| !sides.iter().any(is_untaken))
            }
            _ => Ok(true),
        });
        taken.unwrap_or(true)
    }

    /// Returns true if clients wait at one of the public addresses. False if the kernel does not tell.
    pub(super) fn has_public_queue(&self, addresses: &[config::Address]) -> bool {
        let places = addresses.iter().filter_map(|address| match address {
            config::Address::Tcp(address) => Some(Where::Tcp(*address)),
            config::Address::Unix(path) => Some(Where::Unix(path)),
            // Only bound listeners are sampled, and those have an address.
            config::Address::Passed(_) => None,
        });
        let places: Vec<_> = places.collect();
        let found = self.with_queues(|reader| Ok(reader.look(&places))).unwrap_or_default();
        found.into_iter().flatten().flatten().any(|listening| listening.queued > 0)
    }

    fn with_queues<T>(&self, ask: impl FnOnce(&mut QueueReader) -> io::Result<T>) -> io::Result<T> {
        let mut reader = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *reader {
            Some(reader) => ask(reader),
            none => ask(none.insert(QueueReader::new()?)),
        }
    }

    pub(super) fn spend_spawn(&self, now: Instant) -> Result<(), Instant> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }
}

fn place(endpoint: &Endpoint) -> Option<Where<'_>> {
    match endpoint {
        Endpoint::Tcp(address) => Some(Where::Tcp(*address)),
        Endpoint::Unix(path) | Endpoint::UnixOf(path, _) => Some(Where::Unix(path)),
        Endpoint::Inherited | Endpoint::Channel => None,
    }
}

/// The user of the pool's workers, if it is not the master's.
fn owner(pool: &config::PoolConfig) -> Option<u32> {
    pool.identity.as_ref().and_then(|identity| identity.owner)
}

fn fitting(path: PathBuf) -> io::Result<PathBuf> {
    if path.as_os_str().len() > LONGEST_UNIX_PATH {
        let text = format!("{} is longer than a unix socket's path may be ({LONGEST_UNIX_PATH} bytes)", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, text));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_path_over_107_bytes_is_refused_with_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let of_length = |length: usize| {
            let base = dir.path().join("");
            PathBuf::from(format!("{}{}", base.display(), "x".repeat(length - base.as_os_str().len())))
        };
        let longest = fitting(of_length(LONGEST_UNIX_PATH)).unwrap();
        drop(std::os::unix::net::UnixListener::bind(longest).unwrap());
        let error = fitting(of_length(LONGEST_UNIX_PATH + 1)).unwrap_err().to_string();
        assert!(error.ends_with("x is longer than a unix socket's path may be (107 bytes)"), "{error}");
        assert!(
            std::os::unix::net::UnixListener::bind(of_length(LONGEST_UNIX_PATH + 1)).is_err(),
            "as the kernel has it"
        );
    }
}
