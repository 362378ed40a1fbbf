//! The wish that a worker leaves.

use tokio_util::sync::CancellationToken;

/// The wish of the master that this worker finishes what it has and leaves. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Draining {
    token: CancellationToken,
}

impl Draining {
    /// Resolves when draining begins; at once if it has. Cancel safe.
    ///
    /// A worker that speaks HTTP then says `Connection: close`, since a kept connection would never end by itself.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// Whether draining has begun. It never ends.
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Begins draining, as SIGTERM does: for a worker that leaves of its own accord.
    pub fn begin(&self) {
        self.token.cancel();
    }
}
