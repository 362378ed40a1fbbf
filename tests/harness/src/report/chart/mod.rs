//! Charts as SVG, written by hand: few kinds with one style. Pure.
//!
//! A chart is a string that is put into the page. It contains classes instead of colours; the page's style sheet sets
//! the colours of each scheme. Its texts are formatted by the caller, so that they equal those of the tables.

mod bars;
mod lines;
pub(crate) mod palette;
mod scale;
mod stacked;
mod svg;
mod timeline;
#[cfg(test)]
pub(crate) mod well_formed;

pub(crate) use bars::{Bar, bars};
pub(crate) use lines::{Line, lines};
pub(crate) use stacked::{Row, stacked};
pub(crate) use timeline::{Moment, Step, Timeline, Timelines};

/// Formats the value at a tick of an axis.
type Format = fn(f64) -> String;

/// The description of a chart for readers that cannot see it.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a> {
    /// The title.
    pub(crate) title: &'a str,
    /// The hint for reading it.
    pub(crate) about: &'a str,
}

/// The width of a chart in its own units, which are pixels on a wide screen.
const WIDTH: f64 = 580.0;
