//! The generator: HTTP/1.1 requests from one thread, as fast as clients get their answers (*closed loop*), or by a
//! fixed schedule (*open loop*).
//!
//! It shares the machine with what it measures and is lean for that: requests are rendered once, answers are counted
//! and not stored, and a request on a kept connection costs one write, one read and no allocation. How failures are
//! told apart is the checker's [`Class`](roundelay_checker::Class); a connection that the server ends while nothing is
//! under way on it is none.
//!
//! `answer`, `naming`, `request` and `tally` are pure; `deadline` and `client` are one exchange; `closed` and `open`
//! say when the next one begins.

mod answer;
mod client;
mod closed;
mod deadline;
mod naming;
mod open;
mod request;
mod tally;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use fastrand::Rng;
use roundelay_checker::Pace;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::plan::Request;
use crate::record::{Drive, Histogram, Tick};

use client::Shared;
use request::Requests;
use tally::Tally;

/// The most requests that an open loop has under way. A generator stalled that far measures nothing but the stall, and
/// each has a descriptor.
pub const MOST_UNDER_WAY: usize = 2_000;

/// The load: the target, the requests and the clients.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The address that is asked. Only loopback addresses.
    pub target: SocketAddr,
    /// The requests, chosen at random by weight. Not empty.
    pub requests: Vec<Request>,
    /// Requests of one connection, the last with `Connection: close`; none: it is kept as long as it lives.
    pub requests_per_connection: Option<NonZeroU32>,
    /// Clients of a closed loop. An open loop keeps as many connections, and opens more when all are busy.
    pub connections: usize,
    /// Before an open loop: load of the same rate over the same connections that is not counted, so that those that
    /// stay are open when the counting begins.
    pub lead_in: Duration,
    /// The longest time that a request may take from its sending, its connect included; after that it failed.
    pub timeout: Duration,
    /// Decides the order of requests.
    pub seed: u64,
}

/// The observations of the generator in one phase. The fields are those of [`crate::record::Phase`].
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The time during which requests were started. What was under way then is waited for. An open loop counts it like
    /// all others, by when it was due; in a closed loop an answer that comes later is neither done nor failed, so that
    /// [`Observed::done`] divided by this is a rate.
    pub seconds: f64,
    /// Requests started.
    pub started: u64,
    /// Complete answers of status 200 to 399.
    pub done: u64,
    /// Failures by the checker's classes.
    pub errors: BTreeMap<String, u64>,
    /// Due, and not started: [`MOST_UNDER_WAY`] were under way already, or this machine had no port (`EADDRNOTAVAIL`),
    /// descriptor or memory left for a connection. The first is the server's doing or a rate too high, the others are
    /// the generator's limits; neither is a failure that a client saw.
    pub not_started: u64,
    /// Of complete answers: from when the request was due (open loop) or sent (closed).
    pub latency: Histogram,
    /// The delay with which requests were sent, or their connects begun; empty in a closed loop.
    pub lag: Histogram,
    /// Bytes of the answers that are done, heads included.
    pub bytes: u64,
    /// Answers by worker.
    pub answers: BTreeMap<String, u64>,
    /// Time of the generator's thread on a processor, while requests were started.
    pub generator_cpu: Duration,
    /// By when requests were due; empty in a closed loop.
    pub timeline: Vec<Tick>,
}

/// A load under way, on a thread of its own. Dropped, it breaks off what is under way.
#[derive(Debug)]
pub struct Load {
    start: Instant,
    /// Ends the load when it is dropped.
    abort: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<Observed>>>,
}

impl Load {
    /// Starts clients of which each sends the next request when it has its answer, or has failed. Those that cannot
    /// connect try again after 5 ms.
    ///
    /// # Errors
    ///
    /// The target is not this machine, the traffic cannot be sent, or there is no thread or descriptor left for it.
    pub fn closed(traffic: Traffic, length: Duration) -> io::Result<Self> {
        Self::launch(traffic, Drive::Closed, length)
    }

    /// Starts `rate` requests a second, evenly spaced, whatever became of earlier ones.
    ///
    /// # Errors
    ///
    /// As [`Load::closed`]; the rate is not above 0.
    pub fn open(traffic: Traffic, rate: f64, length: Duration) -> io::Result<Self> {
        if !(rate.is_finite() && rate > 0.0) {
            return Err(refused(format!("cannot send {rate} requests a second: a rate is above 0")));
        }
        Self::launch(traffic, Drive::Open { rate }, length)
    }

    fn launch(traffic: Traffic, drive: Drive, length: Duration) -> io::Result<Self> {
        let requests = traffic.check().map_err(refused)?;
        let (started, has_started) = mpsc::channel();
        let (abort, aborted) = oneshot::channel();
        let body = move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
            let work = async {
                tokio::select! {
                    observed = run(traffic, requests, drive, length, started) => observed,
                    _ = aborted => Ok(Observed::default()),
                }
            };
            runtime.block_on(work)
        };
        let thread = std::thread::Builder::new().name("generator".to_owned()).spawn(body)?;
        match has_started.recv() {
            Ok(start) => Ok(Self { start, abort: Some(abort), thread: Some(thread) }),
            Err(_) => Err(join(thread).err().unwrap_or_else(|| io::Error::other("the generator did not start"))),
        }
    }

    /// From its start, after the lead-in, until now.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// True once its length is over and nothing is under way any more.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for its end: its length, and at most [`Traffic::timeout`] for what is under way then.
    pub fn wait(mut self) -> Observed {
        // An error ends it only before its start, and then there is no handle.
        self.thread.take().map(|thread| join(thread).unwrap_or_default()).unwrap_or_default()
    }

    /// Breaks it off: connections with requests under way are closed.
    pub fn abort(self) {
        drop(self);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.abort.take());
        if let Some(thread) = self.thread.take() {
            // A defect of the generator has told itself on stderr.
            let _ = thread.join();
        }
    }
}

impl Traffic {
    /// Checks if it may and can be sent: its requests as bytes.
    fn check(&self) -> Result<Requests, String> {
        if !self.target.ip().to_canonical().is_loopback() {
            return Err(format!("cannot load {}: the harness loads only this machine's own addresses", self.target));
        }
        if self.connections == 0 {
            return Err(format!("cannot load {} over 0 connections: there has to be one", self.target));
        }
        Requests::render(&self.requests, self.target)
    }
}

async fn run(
    traffic: Traffic,
    requests: Requests,
    drive: Drive,
    length: Duration,
    started: mpsc::Sender<Instant>,
) -> io::Result<Observed> {
    let pace = Pace::new()?;
    let tally = match drive {
        Drive::Closed => Tally::closed(),
        Drive::Open { rate } => Tally::open(length, rate),
    };
    let shared = Rc::new(Shared {
        target: traffic.target,
        requests,
        requests_per_connection: traffic.requests_per_connection,
        timeout: traffic.timeout,
        random: RefCell::new(Rng::with_seed(traffic.seed)),
        buffer: RefCell::new(vec![0; client::BUFFER]),
        tally: RefCell::new(tally),
    });
    let begin = Instant::now();
    let start = if drive == Drive::Closed { begin } else { begin + traffic.lead_in };
    // Nobody listens if the handle was dropped meanwhile, which ends this too.
    let _ = started.send(start);
    match drive {
        Drive::Closed => closed::run(&shared, traffic.connections, start, length).await,
        Drive::Open { rate } => {
            let schedule = open::Schedule { begin, lead_in: traffic.lead_in, length, rate };
            open::run(&shared, traffic.connections, &pace, schedule).await;
        }
    }
    Ok(shared.tally.take().finish())
}

/// The result of the thread; its panic goes on here.
fn join(thread: JoinHandle<io::Result<Observed>>) -> io::Result<Observed> {
    thread.join().unwrap_or_else(|defect| std::panic::resume_unwind(defect))
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// The time that this thread has been on a processor.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
