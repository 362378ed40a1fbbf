//! A reload into a release that does not come up, and then into the good one again.

use std::time::Duration;

use tokio::time::Instant;

use super::of_drains;
use crate::drill::promise::Allowed;
use crate::drill::release::{LAST_LINE, Release};
use crate::drill::scene::{Scene, Trouble};

/// How long a reload may take until it is known to have failed. The product is told to wait 3 s for a release that is never
/// ready; others have their own patience.
const KNOWN: Duration = Duration::from_secs(30);

pub(super) fn play(scene: &mut Scene<'_>, release: Release) -> Result<Allowed, Trouble> {
    let before = pids(scene)?;
    scene.target.switch(release)?;
    scene.note("reload into the broken release");
    let begun = Instant::now();
    let order = scene.target.reload()?;
    let took = begun.elapsed();
    let is_known = took <= KNOWN;
    let seen = format!("{} after {:.1} s", exit(order.code), took.as_secs_f64());
    scene.promise("the reload fails", "exit code 1, within 30 s", seen, order.code == Some(1) && is_known);
    let after = pids(scene)?;
    let stayed = before.iter().filter(|pid| after.contains(pid)).count();
    let seen = format!("{stayed} of {} are still there", before.len());
    scene.promise("the workers go on", "the same processes", seen, stayed == before.len());
    if release == Release::Exits {
        let is_told = order.said.contains(LAST_LINE);
        let seen = if is_told { "it does".to_owned() } else { format!("it says: {}", last_line(&order.said)) };
        scene.promise("the message has the program's last line", LAST_LINE, seen, is_told);
    }
    scene.target.switch(Release::Good)?;
    if !is_known {
        scene.promise("the good release is taken again", "exit code 0", "the last reload does not end", false);
        return Ok(of_drains(scene));
    }
    scene.note("reload into the good release");
    let order = scene.target.reload()?;
    let mut seen = exit(order.code);
    if order.code != Some(0) {
        seen += &format!(": {}", last_line(&order.said));
    }
    scene.promise("the good release is taken again", "exit code 0", seen, order.code == Some(0));
    Ok(of_drains(scene))
}

/// The serving processes, sorted.
pub(super) fn pids(scene: &Scene<'_>) -> Result<Vec<u32>, Trouble> {
    let mut pids: Vec<_> = scene.target.serving()?.into_iter().map(|worker| worker.pid).collect();
    pids.sort_unstable();
    Ok(pids)
}

pub(super) fn exit(code: Option<i32>) -> String {
    code.map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit code {code}"))
}

pub(super) fn last_line(said: &str) -> &str {
    said.lines().next_back().unwrap_or("nothing").trim()
}
