//! The master's own log, on standard error.

use std::fmt::{self, Debug};
use std::io::{self, IsTerminal, Write};

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;
use tracing_subscriber::reload::Handle;

use crate::app::LogLevel;
use crate::config::{Log, LogFormat};
use crate::output::LogWriter;
use crate::printable;

/// Starts logging to `writer`; works once in a process. `RUST_LOG` wins over the configuration. The result can change
/// `log.level` later.
pub(super) fn start(log: &Log, writer: LogWriter) -> LogLevel {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let (said, refused) = match asked.trim() {
        "" => (None, None),
        asked => EnvFilter::try_new(asked).map_or_else(|error| (None, Some(error)), |filter| (Some(filter), None)),
    };
    let is_overruled = said.is_some();
    let filter = said.unwrap_or_else(|| EnvFilter::new(&log.level));
    let is_terminal = std::io::stderr().is_terminal();
    let has_colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    // A process that logs already, as a test may, keeps its log. The level that is returned then has no effect.
    let level = if is_json(log.format, is_terminal) {
        let json = builder
            .with_writer(move || SafeJson(writer.clone()))
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false);
        let json = json.with_filter_reloading();
        let level = by_handle(json.reload_handle(), is_overruled);
        drop(json.try_init());
        level
    } else {
        let pretty = builder.with_writer(move || writer.clone()).compact().with_ansi(has_colours).with_target(false);
        let pretty = pretty.fmt_fields(format::debug_fn(field).delimited(" ")).with_filter_reloading();
        let level = by_handle(pretty.reload_handle(), is_overruled);
        drop(pretty.try_init());
        level
    };
    if let Some(error) = refused {
        tracing::warn!(%error, "cannot parse RUST_LOG, using log.level instead");
    }
    level
}

/// Writes one field of an event for people. A text from outside can neither end the line nor colour it.
fn field(out: &mut format::Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match (field.name(), out.has_ansi_escapes()) {
        ("message", _) => {}
        (name, true) => {
            let (italic, dimmed) = (anstyle::Style::new().italic(), anstyle::Style::new().dimmed());
            write!(out, "{italic}{name}{italic:#}{dimmed}={dimmed:#}")?;
        }
        (name, false) => write!(out, "{name}=")?,
    }
    out.write_str(&printable::escape(&format!("{value:?}")))
}

/// Takes whole events in JSON, and passes them on without characters that act on a terminal.
struct SafeJson(LogWriter);

impl Write for SafeJson {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let json = String::from_utf8_lossy(event);
        self.0.write_all(printable::finished_json(&json).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn by_handle<S: 'static>(handle: Handle<EnvFilter, S>, is_overruled: bool) -> LogLevel {
    LogLevel::new(move |level| {
        if is_overruled {
            tracing::warn!(level, "log.level has changed, but RUST_LOG is set and takes precedence");
        } else if handle.reload(EnvFilter::new(level)).is_ok() {
            tracing::info!(level, "log.level has changed");
        }
    })
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
