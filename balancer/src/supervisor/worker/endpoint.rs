//! The private endpoint of one incarnation: chosen at its start, given back at its end.
//!
//! Each new process gets a new endpoint. Two processes on one path would take it from each other, and a port that the
//! old process has just left may still be refused to the new one. A listener that the master made outlives its worker
//! for a moment, so that the connections in its queue can go to other workers.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::{self, EndpointKind};
use crate::mode::Inherits;
use crate::os::child::StartError;
use crate::rotation::Endpoint;
use crate::supervisor::Resources;

/// An endpoint, which goes back to the resources when dropped.
pub(in crate::supervisor) struct PrivateEndpoint {
    pub(in crate::supervisor) endpoint: Endpoint,
    /// The listener, if the master made it and keeps it.
    pub(in crate::supervisor) listener: Option<Arc<OwnedFd>>,
    resources: Arc<Resources>,
}

impl PrivateEndpoint {
    /// Chooses an endpoint of the kind that the pool's configuration asks for.
    ///
    /// # Errors
    ///
    /// If no port is free, the path is longer than a unix socket's may be, or the listener cannot be made.
    pub(in crate::supervisor) fn choose(
        pool: &config::PoolConfig,
        resources: &Arc<Resources>,
    ) -> Result<Self, StartError> {
        let failed = |source| StartError { stage: "choosing an endpoint".to_owned(), source };
        let mut listener = None;
        let endpoint = match (pool.mode.inherits(), pool.endpoint) {
            (Inherits::Nothing, EndpointKind::Port) => {
                let port = resources.take_port().map_err(failed)?;
                Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            }
            (Inherits::Nothing, EndpointKind::Unix) => resources.fresh_endpoint(pool).map_err(failed)?,
            (Inherits::Nothing, EndpointKind::Inherited) => {
                let path = resources.fresh_listener().map_err(failed)?;
                listener = Some(Arc::new(listen(&path, pool.backlog).map_err(failed)?));
                Endpoint::Unix(path)
            }
            (Inherits::PublicListeners | Inherits::SlotListener, _) => Endpoint::Inherited,
            (Inherits::Channel, _) => Endpoint::Channel,
        };
        Ok(Self { endpoint, listener, resources: Arc::clone(resources) })
    }
}

/// Creates a unix listener. It is blocking: a plain `accept` in any language expects that.
fn listen(path: &Path, backlog: u32) -> std::io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

impl Drop for PrivateEndpoint {
    fn drop(&mut self) {
        match &self.endpoint {
            Endpoint::Tcp(address) => self.resources.give_back_port(address.port()),
            // A killed worker leaves its socket file behind.
            Endpoint::Unix(path) | Endpoint::UnixOf(path, _) => drop(std::fs::remove_file(path)),
            Endpoint::Inherited | Endpoint::Channel => {}
        }
    }
}
