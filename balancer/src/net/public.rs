//! The public listeners of a pool.

use super::group::Group;
use super::listeners::Listener;
use crate::config::Address;

/// The public listeners of a pool, in the order of its addresses.
#[derive(Debug)]
pub enum Public {
    /// One listener for each address.
    Listeners(Vec<Listener>),
    /// One group for each address. A group has a listener for each worker.
    Groups(Vec<Group>),
}

impl Public {
    /// Returns their addresses; port 0 is replaced by the one that the kernel chose.
    pub fn addresses(&self) -> Vec<Address> {
        match self {
            Public::Listeners(listeners) => listeners.iter().map(|one| one.address().clone()).collect(),
            Public::Groups(groups) => groups.iter().map(|one| one.address().clone()).collect(),
        }
    }
}
