//! What happens to the workers under load.

use std::io::Write;
use std::net::TcpStream;

use crate::load::{Load, Traffic};
use crate::plan::Event;
use crate::record::EventRecord;
use crate::setup::{self, RunningSetup, Signal, WorkerProcess};

/// The changes that have to be undone when the load is over.
#[derive(Debug)]
pub(super) enum Undo {
    /// A stopped process may go on, if it still lives.
    Continue(u32),
    /// A connection whose answer nobody waits for.
    Close(#[expect(dead_code, reason = "it is closed when it is dropped")] TcpStream),
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Self::Continue(pid) = self {
            // It may have been killed and replaced, as it should.
            let _ = setup::signal(*pid, Signal::CONT);
        }
    }
}

/// Makes it happen now. Which worker is hit is decided by the traffic's seed.
pub(super) fn play(
    event: &Event,
    running: &mut dyn RunningSetup,
    traffic: &Traffic,
    load: &Load,
    workers: &[WorkerProcess],
) -> (EventRecord, Option<Undo>) {
    let at = load.elapsed().as_secs_f64();
    let victim = fastrand::Rng::with_seed(traffic.seed).choice(workers).cloned();
    let count = workers.len();
    let mut undo = None;
    let (what, has_end, result) = match event {
        Event::Kill => {
            let (what, result) = hit(victim.as_ref(), Signal::KILL, "SIGKILL");
            (what, false, result.map(drop))
        }
        Event::Hang => {
            let (what, result) = hit(victim.as_ref(), Signal::STOP, "SIGSTOP");
            (what, false, result.map(|pid| undo = Some(Undo::Continue(pid))))
        }
        Event::Reload => {
            (format!("reload of {count} workers"), true, running.reload().map_err(|error| error.to_string()))
        }
        Event::Scale => {
            let what = format!("scale from {count} to {} workers", count * 2);
            (what, true, running.scale(count * 2).map_err(|error| error.to_string()))
        }
        Event::Request(path) => {
            let result = ask(traffic, path).map(|stream| undo = Some(Undo::Close(stream)));
            (format!("a request for {path}"), false, result.map_err(|error| error.to_string()))
        }
    };
    let took = has_end.then(|| load.elapsed().as_secs_f64() - at);
    let failure = result.err().map(|error| format!("{what}: {error}"));
    (EventRecord { what, at, took, failure }, undo)
}

fn hit(victim: Option<&WorkerProcess>, signal: Signal, name: &str) -> (String, Result<u32, String>) {
    let Some(WorkerProcess { name: worker, pid }) = victim else {
        return (format!("{name} to a worker"), Err(String::from("there is none")));
    };
    // Where there are no slots, a worker's name is its pid.
    let whom = if *worker == pid.to_string() { format!("pid {pid}") } else { format!("{worker} (pid {pid})") };
    let sent = setup::signal(*pid, signal).map(|()| *pid).map_err(|error| error.to_string());
    (format!("{name} to {whom}"), sent)
}

fn ask(traffic: &Traffic, path: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&traffic.target, traffic.timeout)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", traffic.target)?;
    Ok(stream)
}
