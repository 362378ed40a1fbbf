//! Charts as SVG, written by hand: few kinds, one look. Pure.
//!
//! A chart is a string of its own that stands in the page. It has no colours in it, only classes; the page's style
//! sheet has the colours, by scheme. Its texts come in already formatted, so that they are those of the tables.

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

/// The text of a chart for readers that cannot see it.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a> {
    /// The title.
    pub(crate) title: &'a str,
    /// The hint for reading it.
    pub(crate) about: &'a str,
}

/// Width of a chart in its own units, which are pixels on a wide screen.
const WIDTH: f64 = 580.0;
