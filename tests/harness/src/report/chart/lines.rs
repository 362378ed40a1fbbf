//! Latency by percentile: one line for each way, with its name at the line's end. Pure.
//!
//! The axis is logarithmic in the part beyond the percentile: from 90 to 99 is as far as from 99 to 99.9.

use super::scale::Scale;
use super::svg::{Anchor, Svg, fitted, width};
use super::{Format, Said, WIDTH, palette};

/// Least distance between the names at the lines' ends.
const LABEL: f64 = 14.0;
const WIDEST_LABEL: f64 = 175.0;
const TOP: f64 = 12.0;

/// One way.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The way's index in the report.
    pub(crate) way: usize,
    /// Its name.
    pub(crate) label: String,
    /// The text shown when the pointer is on it.
    pub(crate) said: String,
    /// True for the way that the others are compared with; it is drawn thicker.
    pub(crate) is_reference: bool,
    /// A value for each percentile, where there is one.
    pub(crate) values: Vec<Option<f64>>,
}

/// Draws them over `percents`, which rise and have their own texts.
pub(crate) fn lines(said: Said<'_>, percents: &[(f64, String)], lines: &[Line], format: Format) -> String {
    let height = (lines.len() as f64 * LABEL + TOP * 2.0).max(250.0);
    let bottom = height - 24.0;
    let values: Vec<f64> = lines.iter().flat_map(|line| line.values.iter().flatten().copied()).collect();
    let y = Scale::spanning(&values, bottom, TOP);
    let ticks: Vec<(f64, String)> = y.ticks.iter().map(|tick| (y.at(*tick), format(*tick))).collect();
    let left = ticks.iter().map(|tick| width(&tick.1)).fold(0.0, f64::max) + 10.0;
    let labels = lines.iter().map(|line| width(&line.label)).fold(0.0, f64::max).min(WIDEST_LABEL);
    let right = WIDTH - labels - 28.0;
    let x = places(percents, left + 6.0, right);

    let mut svg = Svg::new(WIDTH, height, said);
    for (i, (at, text)) in ticks.iter().enumerate() {
        let class = if i == 0 && !y.is_log() { "axis" } else { "grid" };
        svg.line(class, (left, *at), (right, *at));
        svg.text("tick", (left - 6.0, *at), Anchor::End, text);
    }
    for (at, (_, text)) in x.iter().zip(percents) {
        svg.line("notch", (*at, bottom), (*at, bottom + 4.0));
        svg.text("tick", (*at, bottom + 13.0), Anchor::Middle, text);
    }
    let points: Vec<Vec<Option<(f64, f64)>>> = lines
        .iter()
        .map(|line| x.iter().zip(&line.values).map(|(x, value)| value.map(|v| (*x, y.at(v)))).collect())
        .collect();
    let ends: Vec<Option<(f64, f64)>> =
        points.iter().map(|points| points.iter().flatten().next_back().copied()).collect();
    let wanted: Vec<f64> = ends.iter().map(|end| end.map_or(bottom, |end| end.1)).collect();
    let label_at = spread(&wanted, LABEL, TOP, bottom);
    for (((line, points), end), label_y) in lines.iter().zip(points).zip(ends).zip(label_at) {
        let class = format!("series {}{}", palette::class(line.way), if line.is_reference { " reference" } else { "" });
        svg.group(&class, &line.said, |svg| {
            svg.path("line", points.iter().copied());
            for point in points.iter().flatten() {
                svg.dot("fill", *point, 2.2);
            }
            if let Some(end) = end {
                svg.path("leader", [Some((end.0 + 4.0, end.1)), Some((right + 18.0, label_y))]);
            }
            svg.text("name", (right + 22.0, label_y), Anchor::Start, &fitted(&line.label, WIDEST_LABEL));
        });
    }
    svg.finish()
}

/// Returns the position of each percentile.
fn places(percents: &[(f64, String)], from: f64, to: f64) -> Vec<f64> {
    let beyond: Vec<f64> = percents.iter().map(|(percent, _)| (100.0 / (100.0 - percent)).log10()).collect();
    let (first, last) = (beyond.first().copied().unwrap_or(0.0), beyond.last().copied().unwrap_or(1.0));
    beyond.iter().map(|value| from + (value - first) / (last - first).max(f64::EPSILON) * (to - from)).collect()
}

/// Returns positions near the wanted ones that are at least `gap` apart and within `top..=bottom`, if there is room.
fn spread(wanted: &[f64], gap: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let mut places = wanted.to_vec();
    let mut least = top;
    for i in &order {
        places[*i] = places[*i].max(least);
        least = places[*i] + gap;
    }
    let mut most = bottom;
    for i in order.iter().rev() {
        places[*i] = places[*i].min(most);
        most = places[*i] - gap;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_the_ends_never_overlap() {
        let mut random = fastrand::Rng::with_seed(7);
        for count in 1..=16 {
            let wanted: Vec<f64> = (0..count).map(|_| 10.0 + random.f64() * 5.0).collect();
            let mut places = spread(&wanted, 14.0, 10.0, 240.0);
            let is_ordered = (0..count).all(|a| (0..count).all(|b| wanted[a] >= wanted[b] || places[a] < places[b]));
            assert!(is_ordered, "{wanted:?} {places:?}");
            places.sort_by(f64::total_cmp);
            assert!(places.windows(2).all(|two| two[1] - two[0] >= 14.0 - 1e-9), "{places:?}");
            assert!(places[0] >= 10.0 && places[count - 1] <= 240.0, "{places:?}");
        }
    }

    #[test]
    fn each_nine_is_as_far_as_the_one_before() {
        let x = places(&[90.0, 99.0, 99.9, 99.99].map(|p| (p, String::new())), 0.0, 300.0);
        assert!(x.iter().zip([0.0, 100.0, 200.0, 300.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{x:?}");
    }
}
