//! The workers that may be picked right now.
//!
//! The supervisor publishes a whole [`Snapshot`] and an [`AcceptState`]; the data threads read them without a lock. A connection
//! holds its worker by a [`Lease`] from the pick until both of its ends are closed.
//!
//! Drains rely on one order: a lease is counted *before* the upstream's standing is read. After the supervisor has
//! taken an upstream out of rotation and seen its counts at zero, no connection can start on it any more, even if a
//! data thread still holds an old snapshot.

mod handed;
mod lease;
mod snapshot;
mod sources;
mod upstream;

pub use handed::{HandedConnection, HandoffSender};
pub use lease::Lease;
pub use snapshot::{AcceptState, Rotation, Snapshot};
pub use sources::{Sources, source_address};
pub use upstream::{Endpoint, MAX_PENDING, ProcessPhase, SlotId, Standing, UNIT_WEIGHT, Upstream};
