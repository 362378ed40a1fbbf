//! The status page: plain HTML without a script, made anew for each request.

use std::fmt::{self, Display, Formatter, Write};

use crate::api::format::{self, bytes, duration, limited, note};
use crate::api::state::{PoolEntry, State, WorkerEntry};
use crate::pool::PoolState;
use crate::printable;

/// The style sheet. It is a resource of its own, so that the content security policy needs no exception for inline
/// style.
pub(super) const STYLE: &str = include_str!("page.css");

/// Returns the page that shows `state`.
pub(super) fn render(state: &State) -> String {
    let mut page = String::new();
    // Writing to a `String` cannot fail.
    let _ = write_page(&mut page, state);
    page
}

fn write_page(page: &mut String, state: &State) -> fmt::Result {
    let word = worst(state);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<meta http-equiv=\"refresh\" content=\"5\">\n\
         <title>{word} - Roundelay</title>\n<link rel=\"stylesheet\" href=\"style.css\">\n</head>\n<body>\n\
         <header><h1>Roundelay</h1> <span class=\"state {word}\">{word}</span> \
         <span>version {}, process {}</span></header>\n<main>\n",
        Text(&state.version),
        state.pid
    )?;
    for pool in &state.pools {
        write_pool(page, pool)?;
    }
    page.write_str(
        "</main>\n<footer><a href=\"metrics\">metrics</a> <a href=\"api/v1/state\">state as JSON</a> \
         <a href=\"livez\">livez</a> <a href=\"readyz\">readyz</a> <span>refreshed every 5 s</span></footer>\n</body>\n</html>\n",
    )
}

fn write_pool(page: &mut String, pool: &PoolEntry) -> fmt::Result {
    let state = Text(&pool.state);
    write!(page, "<section>\n<h2>{} <span class=\"state {state}\">{state}</span></h2>\n<dl>\n", Text(&pool.name))?;
    let workers = format!("{} of {} ready", pool.workers_ready, pool.workers_desired);
    for (term, value) in [
        ("listens on", pool.listen.join(", ")),
        ("workers", workers),
        ("mode", pool.mode.clone()),
        ("strategy", pool.strategy.clone()),
        ("generation", pool.generation.to_string()),
        ("accept state", pool.accept_state.clone()),
        ("connections", connections(pool)),
    ] {
        writeln!(page, "<div><dt>{term}</dt><dd>{}</dd></div>", Text(&value))?;
    }
    write!(
        page,
        "</dl>\n<table>\n<caption>Workers of {}</caption>\n<thead><tr><th scope=\"col\">worker",
        Text(&pool.name)
    )?;
    page.write_str("<th scope=\"col\">state")?;
    for head in ["pid", "up", "CPU time", "memory", "connections", "total", "restarts"] {
        write!(page, "<th scope=\"col\" class=\"number\">{head}")?;
    }
    page.write_str("<th scope=\"col\">note</tr></thead>\n<tbody>\n")?;
    for worker in &pool.workers {
        write_worker(page, pool, worker)?;
    }
    page.write_str("</tbody>\n</table>\n</section>\n")
}

/// Returns the state of the pool that is in the worst one.
fn worst(state: &State) -> &'static str {
    let known = |pool: &PoolEntry| PoolState::ALL.into_iter().find(|known| known.name() == pool.state);
    let worst = state.pools.iter().filter_map(known).max().unwrap_or(PoolState::Ready);
    if state.is_stopping { PoolState::Stopping.name() } else { worst.name() }
}

fn connections(pool: &PoolEntry) -> String {
    format::connections(pool) + &limited(pool).map_or_else(String::new, |why| format!("; {why}"))
}

fn write_worker(page: &mut String, pool: &PoolEntry, worker: &WorkerEntry) -> fmt::Result {
    let state = Text(&worker.state);
    write!(
        page,
        "<tr><th scope=\"row\">{}/{}<td><span class=\"state {state}\">{state}</span>",
        Text(&pool.name),
        worker.slot
    )?;
    for figure in [
        worker.pid.map(|pid| pid.to_string()),
        worker.up_seconds.map(duration),
        worker.cpu_seconds.map(duration),
        worker.memory_bytes.map(bytes),
        worker.active.map(|n| n.to_string()),
        worker.connections.map(|n| n.to_string()),
        Some(worker.restarts.to_string()),
    ] {
        write!(page, "<td class=\"number\">{}", figure.as_deref().unwrap_or("-"))?;
    }
    write!(page, "<td>{}", Text(&note(worker)))?;
    let lines = worker.last_exit.iter().flat_map(|exit| &exit.last_lines);
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        page.write_str("<details><summary>last lines of its output</summary><pre>")?;
        for line in lines {
            writeln!(page, "{}", Text(line))?;
        }
        page.write_str("</pre></details>")?;
    }
    page.write_str("</tr>\n")
}

/// Writes a text escaped for HTML, in an element or a quoted attribute.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in printable::escape(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
