//! Rolling reloads back to back: nobody may notice.

use std::time::Duration;

use tokio::time::Instant;

use super::of_drains;
use super::release::{exit, last_line, pids};
use crate::drill::promise::Allowed;
use crate::drill::scene::{Scene, Trouble};

/// At least so many, however short the load is to be.
const LEAST: usize = 2;

pub(super) fn play(scene: &mut Scene<'_>) -> Result<Allowed, Trouble> {
    let (mut reloads, mut done, mut renewed, mut slowest) = (0, 0, 0, Duration::ZERO);
    let mut said = String::new();
    let mut before = pids(scene)?;
    let workers = before.len();
    while reloads < LEAST || !scene.is_late(Duration::from_secs(1)) {
        let begun = Instant::now();
        let order = scene.target.reload()?;
        slowest = slowest.max(begun.elapsed());
        reloads += 1;
        done += usize::from(order.code == Some(0));
        if order.code != Some(0) && said.is_empty() {
            said = format!("; {}: {}", exit(order.code), last_line(&order.said));
        }
        let after = pids(scene)?;
        renewed += usize::from(after.len() == workers && after.iter().all(|pid| !before.contains(pid)));
        before = after;
        scene.pause(Duration::ZERO)?;
    }
    scene.note(format!("{reloads} reloads, the slowest {:.2} s", slowest.as_secs_f64()));
    let seen = format!("{done} of {reloads}{said}");
    scene.promise("every reload succeeds", "exit code 0", seen, done == reloads);
    let seen = format!("{renewed} of {reloads} times");
    scene.promise("all workers are new ones", "every time", seen, renewed == reloads);
    Ok(of_drains(scene))
}
