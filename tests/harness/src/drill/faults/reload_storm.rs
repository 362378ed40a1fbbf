//! Rolling reloads back to back: nobody may notice.

use std::time::Duration;

use tokio::time::Instant;

use super::drains::{self, Drains};
use super::release::{ended, last_line, pids};
use crate::drill::allowed::Allowed;
use crate::drill::scene::{Scene, Trouble};

/// At least so many, however short the load is to be.
const LEAST: usize = 2;

pub(super) fn play(scene: &mut Scene<'_>) -> Result<Allowed, Trouble> {
    let mut drains = Drains::default();
    let (mut reloads, mut done, mut renewed, mut slowest) = (0, 0, 0, Duration::ZERO);
    let mut said = String::new();
    let mut before = pids(scene)?;
    let workers = before.len();
    while reloads < LEAST || !scene.is_late(Duration::from_secs(1)) {
        let begun = Instant::now();
        let (order, is_done) = drains.reload(scene)?;
        let took = begun.elapsed();
        slowest = slowest.max(took);
        reloads += 1;
        done += usize::from(is_done);
        if order.code != Some(0) && said.is_empty() {
            said = format!("; {}: {}", ended(&order, took), last_line(&order.said));
        }
        let after = pids(scene)?;
        renewed += usize::from(after.len() == workers && after.iter().all(|pid| !before.contains(pid)));
        before = after;
        scene.pause(Duration::ZERO)?;
        if order.code.is_none() {
            break;
        }
    }
    scene.note(format!("{reloads} reloads, the slowest {:.2} s", slowest.as_secs_f64()));
    let seen = format!("{done} of {reloads}{said}");
    scene.promise("every reload is carried out", "reload fails", drains::words(scene), seen, done == reloads);
    let seen = format!("{renewed} of {reloads} times");
    scene.promise("all workers are new ones", "old workers", "every time", seen, renewed == reloads);
    Ok(drains.allowed(scene))
}
