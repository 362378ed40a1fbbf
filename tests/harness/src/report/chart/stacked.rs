//! Horizontal bars of several parts, one bar for each way. Pure.

use super::bars::{Frame, THICK};
use super::scale::Scale;
use super::svg::{Anchor, Svg, width};
use super::{Format, Said, WIDTH, palette};

/// One bar.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The way's index in the report.
    pub(crate) way: usize,
    /// Its name.
    pub(crate) label: String,
    /// The text at its end.
    pub(crate) shown: String,
    /// The text shown when the pointer is on it.
    pub(crate) said: String,
    /// The parts from the left; a part at the same index has the same meaning in all bars.
    pub(crate) parts: Vec<f64>,
}

/// Draws the bars from top to bottom. With `names` the parts have their own colours and a legend. Without, they are
/// pieces of one kind in the way's colour, and add up to 1.
pub(crate) fn stacked(said: Said<'_>, names: &[&str], rows: &[Row], format: Format) -> String {
    let labels: Vec<(&str, &str)> = rows.iter().map(|row| (row.label.as_str(), row.shown.as_str())).collect();
    let frame = Frame::new(&labels, if names.is_empty() { 6.0 } else { 26.0 });
    let total = |row: &Row| row.parts.iter().filter(|part| part.is_finite()).sum::<f64>();
    let scale = if names.is_empty() {
        let most = rows.iter().map(|row| row.parts.len()).max().unwrap_or(0);
        Scale::parts(most, frame.left, frame.right)
    } else {
        Scale::linear(rows.iter().map(total).fold(0.0, f64::max), frame.left, frame.right)
    };
    let mut svg = Svg::new(WIDTH, frame.height, said);
    legend(&mut svg, frame.left, names);
    frame.axis(&mut svg, &scale, format);
    for (i, row) in rows.iter().enumerate() {
        let y = frame.middle(i) - THICK / 2.0;
        svg.group(&palette::class(row.way), &row.said, |svg| {
            frame.labels(svg, i, &row.label, &row.shown);
            let mut sum = 0.0;
            for (place, part) in row.parts.iter().enumerate().filter(|(_, part)| part.is_finite()) {
                let (from, to) = (scale.at(sum), scale.at(sum + part));
                svg.rect(&class(names, place), from, y, to - from, THICK);
                sum += part;
            }
        });
    }
    svg.finish()
}

fn class(names: &[&str], place: usize) -> String {
    if names.is_empty() { "piece".to_owned() } else { format!("part{place}") }
}

fn legend(svg: &mut Svg, mut x: f64, names: &[&str]) {
    for (place, name) in names.iter().enumerate() {
        svg.rect(&class(names, place), x, 4.0, 14.0, THICK);
        svg.text("label", (x + 20.0, 4.0 + THICK / 2.0), Anchor::Start, name);
        x += 20.0 + width(name) + 22.0;
    }
}
