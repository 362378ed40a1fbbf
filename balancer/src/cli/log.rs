//! The master's own log, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};
use crate::output::LogWriter;

/// Starts logging to `writer`; once a process. `RUST_LOG` wins over the configuration.
pub(super) fn start(log: &Log, writer: LogWriter) {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let by_config = || EnvFilter::new(&log.level);
    let (filter, refused) = match asked.trim() {
        "" => (by_config(), None),
        asked => EnvFilter::try_new(asked).map_or_else(|error| (by_config(), Some(error)), |filter| (filter, None)),
    };
    let is_terminal = std::io::stderr().is_terminal();
    let has_colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone());
    let started = match is_json(log.format, is_terminal) {
        true => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        false => builder.compact().with_ansi(has_colours).with_target(false).try_init(),
    };
    // A process that logs already, as a test's may, keeps the log it has.
    drop(started);
    if let Some(error) = refused {
        tracing::warn!(%error, "RUST_LOG cannot be read, so log.level counts");
    }
}

fn is_json(format: LogFormat, is_terminal: bool) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !is_terminal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_text_and_collectors_json() {
        let cases =
            [(LogFormat::Auto, true), (LogFormat::Auto, false), (LogFormat::Pretty, false), (LogFormat::Json, true)];
        assert_eq!(cases.map(|(format, is_terminal)| is_json(format, is_terminal)), [false, true, false, true]);
    }
}
