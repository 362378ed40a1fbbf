//! The open loop: requests start by a fixed schedule, whatever became of earlier ones, and their latency counts from the
//! time at which they were due. So a server that stalls for half a second delays all that was due meanwhile, and it shows.

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

/// When one request is due, from the start of the load.
#[derive(Clone, Copy, Debug)]
struct Job {
    due: Duration,
}

/// A client that waits for jobs, on a task of its own.
#[derive(Debug, Default)]
struct Seat {
    job: Cell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
}

/// All clients. Jobs go to the one that rested longest, so that every connection is used.
#[derive(Debug)]
struct Room {
    shared: Rc<Shared>,
    start: Instant,
    /// Clients that stay when they have nothing to do.
    kept: usize,
    seats: Cell<usize>,
    /// Numbers the clients.
    opened: Cell<usize>,
    idle: RefCell<VecDeque<Rc<Seat>>>,
    under_way: Cell<usize>,
    /// Told when nothing is under way any more.
    quiet: Notify,
}

/// A job that has begun. Also one that a defect of this program ends is over.
struct UnderWay<'a>(&'a Room);

/// So many requests a second for that long; returns when the last one has ended.
pub(super) async fn run(shared: &Rc<Shared>, kept: usize, pace: &Pace, rate: f64, start: Instant, length: Duration) {
    let room = Rc::new(Room {
        shared: Rc::clone(shared),
        start,
        kept,
        seats: Cell::default(),
        opened: Cell::default(),
        idle: RefCell::default(),
        under_way: Cell::default(),
        quiet: Notify::new(),
    });
    let before = thread_time();
    let due = |number: u64| Some(Duration::from_secs_f64(number as f64 / rate)).filter(|due| *due < length);
    let mut number = 0;
    let mut is_paced = true;
    while let Some(next) = due(number) {
        // Without the pace nothing tells when the rest is due.
        if !is_paced {
            shared.tally.borrow_mut().skip();
            number += 1;
            continue;
        }
        let now = start.elapsed();
        if next <= now {
            room.give(Job { due: next });
            number += 1;
            continue;
        }
        is_paced = pace.wait(next - now).await.is_ok();
    }
    // An error is no reason to give up what is under way.
    let _ = pace.wait(length.saturating_sub(start.elapsed())).await;
    let cpu = thread_time().saturating_sub(before);
    shared.tally.borrow_mut().starts_nothing_more(length, cpu);
    while room.under_way.get() > 0 {
        room.quiet.notified().await;
    }
}

impl Room {
    /// Has somebody do it, unless too much is under way.
    fn give(self: &Rc<Self>, job: Job) {
        if self.under_way.get() >= MOST_UNDER_WAY {
            return self.shared.tally.borrow_mut().skip();
        }
        self.under_way.set(self.under_way.get() + 1);
        // As long as there are fewer than are kept, another one is opened: so all of them are soon.
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

    /// Takes a client's seat back; true if the client stays. Of those that were opened since all were busy one goes when
    /// another client rests: not before, or a server that is slow for long would meet new connections only.
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

    /// The next job. Meanwhile the client watches its connection.
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
        let intended = room.start + due;
        room.shared.tally.borrow_mut().start(Some(now.saturating_duration_since(intended)));
        let outcome = client.ask(&room.shared, now).await;
        {
            let mut tally = room.shared.tally.borrow_mut();
            let answer = client.answer();
            match outcome {
                Outcome::Good => {
                    let latency = intended.elapsed();
                    tally.succeed(Some(due), latency, answer.received(), answer.worker());
                }
                Outcome::Failed(class) | Outcome::Unconnected(class) => tally.fail(Some(due), class),
                Outcome::OwnLimit => tally.take_back(),
            }
        }
        drop(under_way);
        if !room.take_back(&seat) {
            return;
        }
    }
}
