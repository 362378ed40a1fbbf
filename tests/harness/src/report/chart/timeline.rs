//! The effect of an event on one way: the 99th percentile and the failures over time, as a small chart. Pure.
//!
//! All ways of a scenario have the same axes, so that they can be compared side by side.

use super::scale::Scale;
use super::svg::{Anchor, Svg, width};
use super::{Format, Said, palette};

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 188.0;
const RIGHT: f64 = WIDTH - 18.0;
/// The upper and lower edge of the latency's part; the next constant has those of the failures' part.
const UPPER: (f64, f64) = (50.0, 122.0);
const LOWER: (f64, f64) = (134.0, 164.0);

/// One step of the timeline.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Step {
    /// The 99th percentile in seconds; `None` without a complete answer.
    pub(crate) p99: Option<f64>,
    /// The same in the worst repetition.
    pub(crate) worst: Option<f64>,
    /// Failures in the worst repetition.
    pub(crate) errors: f64,
}

/// The time of an event, in seconds.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    /// The event, in a word.
    pub(crate) what: String,
    /// The time at which it happened.
    pub(crate) at: f64,
    /// The time at which it was over, if it took time.
    pub(crate) until: Option<f64>,
}

/// One way.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    /// The way's index in the report.
    pub(crate) way: usize,
    /// Its name.
    pub(crate) label: String,
    /// The figures on one line.
    pub(crate) figures: String,
    /// The steps from the start; all timelines have the same number of them.
    pub(crate) steps: Vec<Step>,
    /// The event.
    pub(crate) moment: Option<Moment>,
}

/// The axes that all charts of a scenario share.
pub(crate) struct Timelines {
    step: f64,
    left: f64,
    time: Scale,
    latency: Scale,
    errors: Scale,
    /// The ticks of the latency and of the failures: position and text.
    ticks: [Vec<(f64, String)>; 2],
}

impl Timelines {
    /// Returns axes with room for all of them; a step takes `step` seconds.
    pub(crate) fn new(all: &[Timeline], step: f64, latency: Format, errors: Format) -> Self {
        let steps = || all.iter().flat_map(|one| &one.steps);
        let values: Vec<f64> = steps().flat_map(|step| [step.p99, step.worst]).flatten().collect();
        let y = Scale::spanning(&values, UPPER.1, UPPER.0);
        let failures = Scale::linear(steps().map(|step| step.errors).fold(1.0, f64::max), LOWER.1, LOWER.0);
        let of = |scale: &Scale, format: Format| -> Vec<(f64, String)> {
            scale.ticks.iter().map(|tick| (scale.at(*tick), format(*tick))).collect()
        };
        let upper = of(&y, latency);
        // There is only room for the ends.
        let lower: Vec<_> = of(&failures, errors).into_iter().rev().step_by(failures.ticks.len().max(2) - 1).collect();
        let left = upper.iter().chain(&lower).map(|tick| width(&tick.1)).fold(0.0, f64::max) + 8.0;
        let length = all.iter().map(|one| one.steps.len()).max().unwrap_or(0) as f64 * step;
        // The time axis ends with the last step, not at a round value.
        let round = Scale::linear(length, left, RIGHT);
        let time = Scale::linear(length, left, left + (RIGHT - left) * stretch(&round, length));
        Self { step, left, time, latency: y, errors: failures, ticks: [upper, lower] }
    }

    /// Draws one chart.
    pub(crate) fn draw(&self, about: &str, one: &Timeline) -> String {
        let mut svg = Svg::new(WIDTH, HEIGHT, Said { title: &one.label, about });
        svg.group(&palette::class(one.way), &format!("{}: {}", one.label, one.figures), |svg| {
            svg.rect("fill", 0.0, 4.0, 10.0, 10.0);
            svg.text("heading", (16.0, 9.0), Anchor::Start, &one.label);
            svg.text("tick", (16.0, 25.0), Anchor::Start, &one.figures);
            if let Some(moment) = &one.moment {
                self.draw_span(svg, moment);
            }
            self.draw_axes(svg);
            self.draw_steps(svg, &one.steps);
            if let Some(moment) = &one.moment {
                self.draw_moment(svg, moment);
            }
        });
        svg.finish()
    }

    fn draw_axes(&self, svg: &mut Svg) {
        for (ticks, floor) in self.ticks.iter().zip([UPPER.1, LOWER.1]) {
            for (y, text) in ticks {
                svg.line(if *y >= floor - 0.01 { "axis" } else { "grid" }, (self.left, *y), (RIGHT, *y));
                svg.text("tick", (self.left - 5.0, *y), Anchor::End, text);
            }
        }
        for tick in self.time.ticks.iter().filter(|tick| self.time.at(**tick) <= RIGHT + 0.5) {
            let x = self.time.at(*tick);
            svg.line("notch", (x, LOWER.1), (x, LOWER.1 + 4.0));
            svg.text("tick", (x, LOWER.1 + 13.0), Anchor::Middle, &format!("{tick} s"));
        }
    }

    fn draw_steps(&self, svg: &mut Svg, steps: &[Step]) {
        let middle = |i: usize| self.time.at((i as f64 + 0.5) * self.step);
        let through = |pick: fn(&Step) -> Option<f64>| {
            steps.iter().enumerate().map(move |(i, step)| pick(step).map(|value| (middle(i), self.latency.at(value))))
        };
        svg.path("worst", through(|step| step.worst));
        svg.path("line", through(|step| step.p99));
        let thick = (self.time.at(self.step) - self.time.at(0.0) - 0.3).max(0.8);
        for (i, step) in steps.iter().enumerate().filter(|(_, step)| step.errors > 0.0) {
            // A failure must be visible, however few there are.
            let top = self.errors.at(step.errors).min(LOWER.1 - 1.5);
            svg.rect("error", middle(i) - thick / 2.0, top, thick, LOWER.1 - top);
        }
    }

    fn draw_span(&self, svg: &mut Svg, moment: &Moment) {
        if let Some(until) = moment.until {
            let (from, to) = (self.time.at(moment.at), self.time.at(until).min(RIGHT));
            svg.rect("span", from, UPPER.0, to - from, LOWER.1 - UPPER.0);
        }
    }

    fn draw_moment(&self, svg: &mut Svg, moment: &Moment) {
        let x = self.time.at(moment.at);
        svg.line("event", (x, UPPER.0 - 14.0), (x, LOWER.1));
        let (at, anchor) =
            if x + width(&moment.what) + 4.0 > RIGHT { (x - 4.0, Anchor::End) } else { (x + 4.0, Anchor::Start) };
        svg.text("event-name", (at, UPPER.0 - 9.0), anchor, &moment.what);
    }
}

/// Returns the factor by which a round axis must be stretched so that `length` is at its visible end.
fn stretch(round: &Scale, length: f64) -> f64 {
    let part = round.ticks.last().map_or(1.0, |last| length / last);
    if part > 0.0 { 1.0 / part } else { 1.0 }
}
