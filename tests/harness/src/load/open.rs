//! The open loop: requests start by a fixed schedule, whatever became of earlier ones, and their latency counts from
//! the time at which they were due. So a server that stalls for half a second delays all requests that are due
//! meanwhile, and the figures show it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use roundelay_checker::Pace;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::{Client, Outcome, Shared};
use super::{MOST_UNDER_WAY, thread_time};

/// The times at which requests are due: a rate for a length of time, after a lead-in that is not counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) begin: Instant,
    pub(super) lead_in: Duration,
    pub(super) length: Duration,
    pub(super) rate: f64,
}

impl Schedule {
    /// Returns the time at which the request with that number is due, from the beginning; `None` after the end.
    fn due(self, number: u64) -> Option<Duration> {
        let due = Duration::from_secs_f64(number as f64 / self.rate);
        Some(due).filter(|due| *due < self.lead_in + self.length)
    }

    /// Returns the same from the end of the lead-in; `None` during it.
    fn counted(self, due: Duration) -> Option<Duration> {
        due.checked_sub(self.lead_in)
    }
}

/// A request, by the time at which it is due.
#[derive(Clone, Copy, Debug)]
struct Job {
    due: Duration,
}

/// A client on a task of its own, which waits for jobs.
#[derive(Debug, Default)]
struct Seat {
    job: Cell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
}

/// All clients. A job goes to the client that rested longest, so that every connection is used.
#[derive(Debug)]
struct Room {
    shared: Rc<Shared>,
    schedule: Schedule,
    /// The number of clients that stay when they have nothing to do.
    kept: usize,
    seats: Cell<usize>,
    /// The number of clients so far, from which each gets its own.
    opened: Cell<usize>,
    idle: RefCell<VecDeque<Rc<Seat>>>,
    under_way: Cell<usize>,
    /// Notified when no request is under way any more.
    quiet: Notify,
}

/// A job that has begun. It is over when this is dropped, even if a bug ends its task.
struct UnderWay<'a>(&'a Room);

/// Runs a schedule; returns when the last request has ended.
pub(super) async fn run(shared: &Rc<Shared>, kept: usize, pace: &Pace, schedule: Schedule) {
    let room = Rc::new(Room {
        shared: Rc::clone(shared),
        schedule,
        kept,
        seats: Cell::default(),
        opened: Cell::default(),
        idle: RefCell::default(),
        under_way: Cell::default(),
        quiet: Notify::new(),
    });
    let Schedule { begin, lead_in, length, .. } = schedule;
    let mut before = thread_time();
    let mut number = 0;
    let mut is_paced = true;
    while let Some(next) = schedule.due(number) {
        // Without the pace there is no signal for when the rest is due.
        if !is_paced {
            shared.tally.borrow_mut().skip();
            number += 1;
            continue;
        }
        let now = begin.elapsed();
        if now < lead_in {
            before = thread_time();
        }
        if next <= now {
            room.give(Job { due: next });
            number += 1;
            continue;
        }
        is_paced = pace.wait(next - now).await.is_ok();
    }
    // An error is no reason to abort the requests under way.
    let _ = pace.wait((lead_in + length).saturating_sub(begin.elapsed())).await;
    let cpu = thread_time().saturating_sub(before);
    shared.tally.borrow_mut().starts_nothing_more(length, cpu);
    while room.under_way.get() > 0 {
        room.quiet.notified().await;
    }
}

impl Room {
    /// Gives a job to a client, unless too many are under way.
    fn give(self: &Rc<Self>, job: Job) {
        if self.under_way.get() >= MOST_UNDER_WAY {
            if self.schedule.counted(job.due).is_some() {
                self.shared.tally.borrow_mut().skip();
            }
            return;
        }
        self.under_way.set(self.under_way.get() + 1);
        // While there are fewer clients than the kept number, another one is opened: so all of them exist soon.
        let rested = if self.seats.get() < self.kept { None } else { self.idle.borrow_mut().pop_front() };
        match rested {
            Some(seat) => seat.give(job),
            None => self.open(job),
        }
    }

    fn open(self: &Rc<Self>, job: Job) {
        let number = self.opened.replace(self.opened.get() + 1);
        self.seats.set(self.seats.get() + 1);
        let seat = Rc::new(Seat::default());
        seat.give(job);
        let client = Client::new(self.shared.target, number);
        drop(tokio::task::spawn_local(sit(Rc::clone(self), seat, client)));
    }

    /// Takes back the seat of a client that has finished; true if the client stays. Of the extra clients that were
    /// opened because all were busy, one leaves when another one rests. If it left earlier, a server that is slow for
    /// long would get new connections only.
    fn take_back(&self, seat: &Rc<Seat>) -> bool {
        let stays = self.seats.get() <= self.kept || self.idle.borrow().is_empty();
        if stays {
            self.idle.borrow_mut().push_back(Rc::clone(seat));
        } else {
            self.seats.set(self.seats.get() - 1);
        }
        stays
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let left = self.0.under_way.get() - 1;
        self.0.under_way.set(left);
        if left == 0 {
            self.0.quiet.notify_one();
        }
    }
}

impl Seat {
    fn give(&self, job: Job) {
        self.job.set(Some(job));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Waits for the next job. Meanwhile the client watches its connection.
    async fn job(&self, client: &mut Client) -> Job {
        poll_fn(|context| {
            if let Some(job) = self.job.take() {
                return Poll::Ready(job);
            }
            client.watch(context);
            match &mut *self.waker.borrow_mut() {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }
}

async fn sit(room: Rc<Room>, seat: Rc<Seat>, mut client: Client) {
    loop {
        let Job { due } = seat.job(&mut client).await;
        let under_way = UnderWay(&room);
        let now = Instant::now();
        let intended = room.schedule.begin + due;
        let counted = room.schedule.counted(due);
        if counted.is_some() {
            room.shared.tally.borrow_mut().start(Some(now.saturating_duration_since(intended)));
        }
        let outcome = client.ask(&room.shared, now).await;
        if counted.is_some() {
            let mut tally = room.shared.tally.borrow_mut();
            let answer = client.answer();
            match outcome {
                Outcome::Good => {
                    let latency = intended.elapsed();
                    tally.succeed(counted, latency, answer.received(), answer.worker());
                }
                Outcome::Failed(class) | Outcome::Unconnected(class) => tally.fail(counted, class),
                Outcome::OwnLimit => tally.take_back(),
            }
        }
        drop(under_way);
        if !room.take_back(&seat) {
            return;
        }
    }
}
