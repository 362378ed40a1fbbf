//! Shows the progress on standard error: a bar on a terminal, elsewhere a line for each finished cell.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use roundelay_text::printable::escape;

/// The bar counts milliseconds of the estimate, since cells differ in length. Text that has no room in the line is cut.
const TEMPLATE: &str = "  {bar:16}  {percent:>3}%  {prefix:>10}  {wide_msg}";

/// Shows the progress.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    done: f64,
    total: f64,
}

impl Progress {
    /// Starts the display for that many estimated seconds.
    pub(crate) fn new(seconds: f64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(millis(seconds)), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar
        });
        Self { bar, done: 0.0, total: seconds }
    }

    /// Shows that something begins.
    pub(crate) fn begin(&self, scenario: &str, way: &str, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(format!("{} left", left(self.total - self.done)));
            bar.set_message(format!("{scenario}  {way}  {what}"));
        }
    }

    /// Shows that it is over; `seconds` is the estimate of it.
    pub(crate) fn end(&mut self, seconds: f64, line: &str) {
        self.pass(seconds);
        if self.bar.is_none() {
            say(line);
        }
    }

    /// Skips work that was estimated at that many seconds.
    pub(crate) fn pass(&mut self, seconds: f64) {
        self.done += seconds;
        if let Some(bar) = &self.bar {
            bar.set_position(millis(self.done));
        }
    }

    /// Prints a line of its own.
    pub(crate) fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Prints one line, even if it quotes several lines of a program. Errors are ignored: standard error may be closed.
pub(crate) fn say(line: &str) {
    let _ = writeln!(anstream::stderr(), "{}", escape(line));
}

/// Writes the time that is left, such as `50s` or `12m`.
pub(crate) fn left(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds.max(0.0).round()).unwrap_or_default().as_secs();
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds.div_ceil(60)),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

fn millis(seconds: f64) -> u64 {
    Duration::try_from_secs_f64(seconds.max(0.0)).map_or(0, |length| u64::try_from(length.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_time_is_rounded_to_readable_units() {
        assert_eq!([-3.0, 50.2, 119.0, 121.0, 7300.0].map(left), ["0s", "50s", "119s", "3m", "2h 1m"]);
    }
}
