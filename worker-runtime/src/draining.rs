//! The signal that a worker drains.

use tokio_util::sync::CancellationToken;

/// The signal that this worker finishes its work and exits: a graceful shutdown. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Draining {
    token: CancellationToken,
}

impl Draining {
    /// Resolves when draining begins, or at once if it has begun. Cancel safe.
    ///
    /// A worker that speaks HTTP then answers with `Connection: close`, since a kept connection would never end by
    /// itself.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// Returns true if draining has begun. Draining cannot be taken back.
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Begins draining, as SIGTERM does. For a worker that exits without being told to.
    pub fn begin(&self) {
        self.token.cancel();
    }
}
