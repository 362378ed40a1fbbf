//! Carries out the events that happen to the workers under load.

use std::io::Write;
use std::net::TcpStream;

use crate::load::{Load, Traffic};
use crate::plan::Event;
use crate::record::EventRecord;
use crate::setup::{self, RunningSetup, Signal, WorkerProcess};

/// A change that has to be undone when the load is over.
#[derive(Debug)]
pub(super) enum Undo {
    /// Continue a stopped process, if it still lives.
    Continue(u32),
    /// Close a connection whose answer is not read.
    Close(#[expect(dead_code, reason = "it is closed when it is dropped")] TcpStream),
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Self::Continue(pid) = self {
            // The process may have been killed and replaced, as it should be.
            let _ = setup::signal(*pid, Signal::CONT);
        }
    }
}

/// Makes the event happen now. The traffic's seed decides which worker it hits.
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
        return (format!("{name} to a worker"), Err(String::from("there is no worker")));
    };
    // For a way without slots, a worker's name is its pid.
    let whom = if *worker == pid.to_string() { format!("pid {pid}") } else { format!("{worker} (pid {pid})") };
    let sent = setup::signal(*pid, signal).map(|()| *pid).map_err(|error| error.to_string());
    (format!("{name} to {whom}"), sent)
}

fn ask(traffic: &Traffic, path: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&traffic.target, traffic.timeout)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", traffic.target)?;
    Ok(stream)
}
