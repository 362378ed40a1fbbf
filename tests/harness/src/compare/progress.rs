//! How far it is: a bar on a terminal, a line for each finished cell elsewhere. To standard error.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::report::plain;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The bar moves by milliseconds of the estimate: cells differ in length. What has no room in the line is cut.
const TEMPLATE: &str = "  {bar:16}  {percent:>3}%  {prefix:>10}  {wide_msg}";

/// Tells how far it is.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    done: f64,
    total: f64,
}

impl Progress {
    /// Of that many estimated seconds.
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

    /// Something begins.
    pub(crate) fn begin(&self, scenario: &str, way: &str, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_prefix(format!("{} left", left(self.total - self.done)));
            bar.set_message(format!("{scenario}  {way}  {what}"));
        }
    }

    /// It is over, and what it took was estimated so.
    pub(crate) fn end(&mut self, seconds: f64, line: &str) {
        self.pass(seconds);
        if self.bar.is_none() {
            say(line);
        }
    }

    /// Work that was estimated so will not be done.
    pub(crate) fn pass(&mut self, seconds: f64) {
        self.done += seconds;
        if let Some(bar) = &self.bar {
            bar.set_position(millis(self.done));
        }
    }

    /// Something worth a line of its own.
    pub(crate) fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// One line, whatever a program said that it quotes. Standard error may be closed; there is nobody to tell then.
pub(crate) fn say(line: &str) {
    let _ = writeln!(anstream::stderr(), "{}", plain(line));
}

/// Such as `50s` or `12m`.
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
