//! Horizontal bars, one for each way, with the spread of the repetitions and the median's interval. Pure.

use super::scale::Scale;
use super::svg::{Anchor, Svg, fitted, width};
use super::{Format, Said, WIDTH, palette};

/// The height of a bar's row.
pub(super) const ROW: f64 = 22.0;
/// The height of a bar.
pub(super) const THICK: f64 = 12.0;
/// The widest label; a longer name is cut off.
const WIDEST_LABEL: f64 = 190.0;
const GAP: f64 = 8.0;

/// One bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// The way's index in the report.
    pub(crate) way: usize,
    /// Its name.
    pub(crate) label: String,
    /// The value, as text.
    pub(crate) shown: String,
    /// The text shown when the pointer is on it.
    pub(crate) said: String,
    /// Its length.
    pub(crate) value: f64,
    /// The interval.
    pub(crate) interval: (f64, f64),
    /// The least and the greatest repetition.
    pub(crate) spread: (f64, f64),
}

/// Draws them from above, in the given order.
pub(crate) fn bars(said: Said<'_>, bars: &[Bar], format: Format) -> String {
    let labels: Vec<(&str, &str)> = bars.iter().map(|bar| (bar.label.as_str(), bar.shown.as_str())).collect();
    let frame = Frame::new(&labels, 6.0);
    let greatest = bars.iter().map(|bar| bar.value.max(bar.spread.1)).fold(0.0, f64::max);
    let scale = Scale::linear(greatest, frame.left, frame.right);
    let mut svg = Svg::new(WIDTH, frame.height, said);
    frame.axis(&mut svg, &scale, format);
    for (i, bar) in bars.iter().enumerate() {
        let y = frame.middle(i);
        svg.group(&palette::class(bar.way), &bar.said, |svg| {
            frame.labels(svg, i, &bar.label, &bar.shown);
            let left = scale.at(0.0);
            svg.rect("fill", left, y - THICK / 2.0, scale.at(bar.value) - left, THICK);
            let at = |value| (scale.at(value), y);
            svg.line("halo", at(bar.spread.0), at(bar.spread.1));
            svg.line("spread", at(bar.spread.0), at(bar.spread.1));
            svg.line("interval", at(bar.interval.0), at(bar.interval.1));
        });
    }
    svg.finish()
}

/// The positions of rows, their names and their values.
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) height: f64,
    top: f64,
    bottom: f64,
}

impl Frame {
    /// Returns the frame for rows with these names and values, below `top` units for a legend.
    pub(super) fn new(labels: &[(&str, &str)], top: f64) -> Self {
        let widest = |texts: &mut dyn Iterator<Item = &str>| texts.map(width).fold(0.0, f64::max);
        let left = widest(&mut labels.iter().map(|label| label.0)).min(WIDEST_LABEL) + GAP;
        // Half of the last tick's text stands to the right of the plot, in the column of the values.
        let right = WIDTH - widest(&mut labels.iter().map(|label| label.1)).max(30.0) - GAP;
        let bottom = top + labels.len() as f64 * ROW;
        Self { left, right, height: bottom + 22.0, top, bottom }
    }

    pub(super) fn middle(&self, row: usize) -> f64 {
        self.top + (row as f64 + 0.5) * ROW
    }

    pub(super) fn labels(&self, svg: &mut Svg, row: usize, label: &str, shown: &str) {
        let y = self.middle(row);
        svg.text("label", (self.left - GAP, y), Anchor::End, &fitted(label, WIDEST_LABEL));
        svg.text("value", (WIDTH, y), Anchor::End, shown);
    }

    pub(super) fn axis(&self, svg: &mut Svg, scale: &Scale, format: Format) {
        for (i, tick) in scale.ticks.iter().enumerate() {
            let x = scale.at(*tick);
            svg.line(if i == 0 { "axis" } else { "grid" }, (x, self.top), (x, self.bottom));
            svg.text("tick", (x, self.bottom + 11.0), Anchor::Middle, &format(*tick));
        }
    }
}
