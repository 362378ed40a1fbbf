//! How much a worker's program may say to the master: what is more is lost, and that is told once.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use super::News;

/// Messages in a [`WINDOW`]. Each is a line of the log, and there may be hundreds of workers.
const MOST: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// Passes news on, but of messages no more than can be borne.
pub(super) fn bounded(pass_on: impl Fn(News) + Send) -> impl Fn(News) + Send {
    let (window, was_told) = (Cell::new((Instant::now(), 0)), Cell::new(false));
    move |news| {
        if !matches!(news, News::Message(_)) {
            return pass_on(news);
        }
        let (begun, count) = window.get();
        let (begun, count) = if begun.elapsed() < WINDOW { (begun, count) } else { (Instant::now(), 0) };
        window.set((begun, count + 1));
        if count < MOST {
            pass_on(news);
        } else if !was_told.replace(true) {
            pass_on(News::Strange(format!("it sends more messages than {MOST} a second: what is more is lost")));
        }
    }
}
