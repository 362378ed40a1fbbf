//! The task that drives a channel in the background.

use std::sync::Arc;

use super::link::Link;

/// Writes packets that could not be written at once, reports the ends of connections, and answers after the accept loop
/// has ended. Returns when the accept loop has ended and the master is gone.
///
/// This task keeps the channel open as long as the runtime exists: the master takes the end of the channel for the end
/// of the process.
pub(super) async fn drive(link: Arc<Link>) {
    while !link.is_over() {
        link.write_out().await;
        tokio::select! {
            biased;
            () = link.work.notified() => if link.is_closed() { link.answer() },
            () = link.when_readable(|| link.turn()), if link.is_closed() => {}
        }
    }
}
