//! A reload into a release that does not come up, and then into the good one again.

use std::time::Duration;

use tokio::time::Instant;

use super::drains::{self, Drains};
use crate::drill::allowed::Allowed;
use crate::drill::release::{LAST_LINE, Release};
use crate::drill::scene::{Scene, Trouble};
use crate::drill::target::Order;

/// How long a reload may take until it is known to have failed; longer it is not waited for. The product is told to wait 3 s
/// for a release that is never ready; others have their own patience, or none that ends.
const KNOWN: Duration = Duration::from_secs(30);

pub(super) fn play(scene: &mut Scene<'_>, release: Release) -> Result<Allowed, Trouble> {
    let before = pids(scene)?;
    let mut drains = Drains::default();
    scene.target.switch(release)?;
    scene.note("reload into the broken release");
    let begun = Instant::now();
    let order = scene.reload(KNOWN)?;
    let seen = ended(&order, begun.elapsed());
    let broken = order.code.map_or_else(|| "hangs".to_owned(), |code| format!("says {code}"));
    scene.promise("the reload fails", &broken, "exit code 1, within 30 s", seen, order.code == Some(1));
    let after = pids(scene)?;
    let stayed = before.iter().filter(|pid| after.contains(pid)).count();
    let seen = format!("{stayed} of {} are still there", before.len());
    scene.promise("the workers go on", "workers gone", "the same processes", seen, stayed == before.len());
    if release == Release::Exits {
        let is_told = order.said.contains(LAST_LINE);
        let seen = if is_told { "it does".to_owned() } else { format!("it says: {}", last_line(&order.said)) };
        scene.promise("the message has the program's last line", "no last line", LAST_LINE, seen, is_told);
    }
    scene.target.switch(Release::Good)?;
    let (what, broken) = ("the good release is taken again", "good not taken");
    if order.code.is_none() {
        scene.promise(what, broken, drains::words(scene), "the last reload does not end", false);
        return Ok(drains.allowed(scene));
    }
    scene.note("reload into the good release");
    let begun = Instant::now();
    let (order, is_done) = drains.reload(scene)?;
    let mut seen = ended(&order, begun.elapsed());
    if order.code != Some(0) {
        seen += &format!(": {}", last_line(&order.said));
    }
    scene.promise(what, broken, drains::words(scene), seen, is_done);
    Ok(drains.allowed(scene))
}

/// The serving processes, sorted.
pub(super) fn pids(scene: &Scene<'_>) -> Result<Vec<u32>, Trouble> {
    let mut pids: Vec<_> = scene.target.serving()?.into_iter().map(|worker| worker.pid).collect();
    pids.sort_unstable();
    Ok(pids)
}

pub(super) fn ended(order: &Order, took: Duration) -> String {
    let took = took.as_secs_f64();
    order
        .code
        .map_or_else(|| format!("no end within {took:.0} s"), |code| format!("exit code {code} after {took:.1} s"))
}

pub(super) fn last_line(said: &str) -> &str {
    said.lines().next_back().unwrap_or("nothing").trim()
}
