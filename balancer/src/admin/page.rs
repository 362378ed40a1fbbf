//! The status page: plain HTML without a script, made anew for each request from the template `page.html`.
//!
//! Each value of the template goes through [`Printable`], which `askama.toml` names for HTML.

use std::fmt::{self, Write};

use askama::Template;
use askama::filters::{Escaper, Html};

use crate::api::format::{self, bytes, duration};
use crate::api::state::{State, WorkerEntry};
use crate::pool::PoolState;
use crate::printable;

/// The style sheet. It is a resource of its own, so that the content security policy needs no exception for inline
/// style.
pub(super) const STYLE: &str = include_str!("page.css");

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    state: &'a State,
    /// The word of the pool that is worst.
    worst: &'static str,
}

/// Returns the page that shows `state`.
pub(super) fn render(state: &State) -> String {
    // Writing to a `String` cannot fail.
    Page { state, worst: worst(state) }.render().unwrap_or_default()
}

fn worst(state: &State) -> &'static str {
    let known = state.pools.iter().filter_map(|pool| PoolState::ALL.into_iter().find(|one| one.name() == pool.state));
    let worst = known.max().unwrap_or(PoolState::Ready);
    if state.is_stopping { PoolState::Stopping.name() } else { worst.name() }
}

/// A worker's figures in the order of the columns; `-` for one that is not measured.
fn figures(worker: &WorkerEntry) -> [String; 7] {
    [
        worker.pid.map(|pid| pid.to_string()),
        worker.up_seconds.map(duration),
        worker.cpu_seconds.map(duration),
        worker.memory_bytes.map(bytes),
        worker.active.map(|n| n.to_string()),
        worker.connections.map(|n| n.to_string()),
        Some(worker.restarts.to_string()),
    ]
    .map(|figure| figure.unwrap_or_else(|| "-".to_owned()))
}

/// Writes text as HTML shows it, in an element or a quoted attribute, and safe to print.
#[derive(Clone, Copy)]
struct Printable;

impl Escaper for Printable {
    fn write_escaped_str<W: Write>(&self, dest: W, text: &str) -> fmt::Result {
        Html.write_escaped_str(dest, &printable::escape(text))
    }
}
