//! The private endpoint of one incarnation: chosen at its start, given back at its end.
//!
//! A new process gets a new one. Two processes on one path would take it from each other, and a port that the old one has
//! just left may still be refused to the new one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::Resources;
use crate::config::{self, EndpointKind};
use crate::mode::Inherits;
use crate::os::child::StartError;
use crate::rotation::Endpoint;

/// An endpoint, and where to give it back when dropped.
pub(super) struct PrivateEndpoint {
    pub(super) endpoint: Endpoint,
    resources: Arc<Resources>,
}

impl PrivateEndpoint {
    /// The kind of endpoint that the pool's rules ask for.
    ///
    /// # Errors
    ///
    /// No port is free, or the path is longer than a unix socket's may be.
    pub(super) fn choose(pool: &config::Pool, resources: &Arc<Resources>) -> Result<Self, StartError> {
        let failed = |source| StartError { stage: "choosing an endpoint".to_owned(), source };
        let endpoint = match (pool.mode.inherits(), pool.endpoint) {
            (Inherits::Nothing, EndpointKind::Port) => {
                let port = resources.take_port().map_err(failed)?;
                Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            }
            (Inherits::Nothing, EndpointKind::Unix) => resources.fresh_endpoint(pool).map_err(failed)?,
            (Inherits::PublicListeners | Inherits::SlotListener | Inherits::Channel, _) => Endpoint::Inherited,
        };
        Ok(Self { endpoint, resources: Arc::clone(resources) })
    }
}

impl Drop for PrivateEndpoint {
    fn drop(&mut self) {
        match &self.endpoint {
            Endpoint::Tcp(address) => self.resources.give_back_port(address.port()),
            // A killed worker leaves its socket file behind.
            Endpoint::Unix(path) | Endpoint::UnixOf(path, _) => drop(std::fs::remove_file(path)),
            Endpoint::Inherited => {}
        }
    }
}
