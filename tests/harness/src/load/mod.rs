//! The load generator: sends HTTP/1.1 requests from one thread, as fast as clients get their answers (*closed loop*) or
//! by a fixed schedule (*open loop*).
//!
//! It runs on the same machine as the server that it measures, so it must use little of it: requests are rendered once,
//! answers are counted and not stored, and a request on a kept connection costs one write, one read and no allocation.
//! Failures are classified by the checker's [`Class`](roundelay_checker::Class). A connection that the server closes
//! while no request is under way is not a failure.
//!
//! `answer`, `naming`, `request` and `tally` are pure; `deadline` and `client` carry out one exchange; `closed` and
//! `open` decide when the next one begins.

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

/// The most requests that an open loop has under way. A server that stalls longer would only be measured as stalled,
/// and each request needs a descriptor.
pub const MOST_UNDER_WAY: usize = 2_000;

/// The load: the target, the requests and the clients.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The address to connect to. Only loopback addresses.
    pub target: SocketAddr,
    /// The requests, chosen at random by weight. Not empty.
    pub requests: Vec<Request>,
    /// The number of requests on a connection, the last with `Connection: close`; `None` keeps it as long as it lives.
    pub requests_per_connection: Option<NonZeroU32>,
    /// The clients of a closed loop. An open loop keeps as many connections, and opens more when all are busy.
    pub connections: usize,
    /// The load before an open loop that is not counted. It has the same rate and uses the same connections, so that
    /// kept connections are open when counting begins.
    pub lead_in: Duration,
    /// The time from its sending, including the connect, after which a request counts as failed.
    pub timeout: Duration,
    /// The seed for the order of requests.
    pub seed: u64,
}

/// The generator's observations in one phase. The fields are those of [`crate::record::Phase`].
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The time during which requests were started. The end of those under way is waited for. An open loop counts them
    /// like all others, by when they were due. In a closed loop an answer that comes later counts neither as done nor
    /// as failed, so that [`Observed::done`] divided by this time is a rate.
    pub seconds: f64,
    /// Requests started.
    pub started: u64,
    /// Complete answers of status 200 to 399.
    pub done: u64,
    /// Failures by the checker's classes.
    pub errors: BTreeMap<String, u64>,
    /// Requests that were due but not started: [`MOST_UNDER_WAY`] were under way already, or this machine had no port
    /// (`EADDRNOTAVAIL`), descriptor or memory left for a connection. The first is caused by the server or by too high
    /// a rate, the others are limits of the generator; no client saw any of them as a failure.
    pub not_started: u64,
    /// The latencies of complete answers, from when the request was due (open loop) or sent (closed).
    pub latency: Histogram,
    /// The delay after which requests were sent, or their connects begun; empty in a closed loop.
    pub lag: Histogram,
    /// Bytes of the complete answers, including heads.
    pub bytes: u64,
    /// Answers by worker.
    pub answers: BTreeMap<String, u64>,
    /// The processor time of the generator's thread while requests were started.
    pub generator_cpu: Duration,
    /// The timeline, by when requests were due; empty in a closed loop.
    pub timeline: Vec<Tick>,
}

/// A running load, on a thread of its own. Dropping it aborts requests under way.
#[derive(Debug)]
pub struct Load {
    start: Instant,
    /// Ends the load when it is dropped.
    abort: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<Observed>>>,
}

impl Load {
    /// Starts clients that each send the next request when the last one was answered or has failed. A client that
    /// cannot connect tries again after 5 ms.
    ///
    /// # Errors
    ///
    /// The target is not on this machine, the traffic is invalid, or there is no thread or descriptor left for it.
    pub fn closed(traffic: Traffic, length: Duration) -> io::Result<Self> {
        Self::launch(traffic, Drive::Closed, length)
    }

    /// Starts `rate` requests a second at equal intervals, whatever became of earlier ones.
    ///
    /// # Errors
    ///
    /// As [`Load::closed`]; or the rate is not above 0.
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

    /// Returns the time since its start, after the lead-in.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns true when its time is over and no request is under way any more.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for its end: its length, and at most [`Traffic::timeout`] for the requests that are under way then.
    pub fn wait(mut self) -> Observed {
        // An error can end it only before its start, and then there is no handle.
        self.thread.take().map(|thread| join(thread).unwrap_or_default()).unwrap_or_default()
    }

    /// Aborts it: connections with requests under way are closed.
    pub fn abort(self) {
        drop(self);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.abort.take());
        if let Some(thread) = self.thread.take() {
            // The panic of the generator was printed on stderr already.
            let _ = thread.join();
        }
    }
}

impl Traffic {
    /// Checks that it may be sent and can be sent. Returns its requests as bytes.
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
    // The receiver is gone if the handle was dropped meanwhile, which also ends this load.
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

/// Returns the result of the thread; a panic of the thread is passed on.
fn join(thread: JoinHandle<io::Result<Observed>>) -> io::Result<Observed> {
    thread.join().unwrap_or_else(|defect| std::panic::resume_unwind(defect))
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Returns the processor time of this thread.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
