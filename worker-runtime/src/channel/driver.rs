//! The task that drives a channel.

use std::sync::Arc;

use super::link::Link;

/// Writes what could not be written at once, reports the ends of connections, and answers after the accept loop has ended.
/// Ends when the master does.
///
/// It holds the channel open as long as the runtime lives: for the master its end would be the end of the process.
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
