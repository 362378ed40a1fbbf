//! A channel against a scripted worker: the worker's messages decide the fate of each connection.

use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::config::{self, Program};
use crate::rotation::{Endpoint, SlotId};
use crate::stats::{ConnectError, Outcome};
use worker_runtime::protocol::packet::{Ids, Refusal, ToMaster, ToWorker};

/// The outcomes of a connection, in order.
type Fates = Arc<Mutex<Vec<(u32, &'static str)>>>;

/// A connection without a client: its socket is standard input, and its listener number is its name.
struct Named(u32, Fates);

impl Named {
    fn say(&self, what: &'static str) {
        self.1.lock().expect("no panic while held").push((self.0, what));
    }
}

impl HandedConnection for Named {
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(rustix::stdio::stdin())
    }

    fn listener_id(&self) -> u32 {
        self.0
    }

    fn taken(&mut self) {
        self.say("taken");
    }

    fn ended(self: Box<Self>, outcome: Outcome) {
        self.say(outcome.name());
    }

    fn returned(self: Box<Self>, why: ConnectError) {
        self.say(why.name());
    }
}

/// A running channel, the worker's end of it, and the events that it reported.
struct Scene {
    handoff_sender: HandoffSender,
    handle: ChannelHandle,
    worker: OwnedFd,
    fates: Fates,
    events: mpsc::UnboundedReceiver<ChannelEvent>,
    task: tokio::task::JoinHandle<()>,
}

fn scene() -> Scene {
    let pool = Arc::new(Pool::new(config::PoolConfig::new("test", Program::Demo), 1, 1, Vec::new()));
    let upstream = Arc::new(Upstream::new(SlotId(0), 1, Endpoint::Channel, Arc::default()));
    let (heard, events) = mpsc::unbounded_channel();
    let report = move |events| drop(heard.send(events));
    let OpenedChannel { channel, theirs, handle } =
        open(PassedAs::Channel, pool, Arc::clone(&upstream), report).unwrap();
    let task = tokio::spawn(channel.run());
    Scene {
        handoff_sender: upstream.handoff_sender().unwrap().clone(),
        handle,
        worker: theirs,
        fates: Fates::default(),
        events,
        task,
    }
}

impl Scene {
    fn give(&self, names: std::ops::Range<u32>) {
        names.for_each(|name| self.handoff_sender.give(Box::new(Named(name, Arc::clone(&self.fates)))));
    }

    /// Returns the data that the worker reads next, and the number of descriptors that came along.
    async fn read(&self) -> (Vec<u8>, usize) {
        let mut buffer = vec![0; 70_000];
        loop {
            match socket::receive(&self.worker, &mut buffer) {
                Ok(received) => {
                    buffer.truncate(received.length);
                    return (buffer, received.descriptors.len());
                }
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Returns the number of the next connection that the worker is handed.
    async fn next_connection(&self) -> u64 {
        let (packet, descriptors) = self.read().await;
        match ToWorker::decode(&packet) {
            Ok(ToWorker::Connection { id }) if descriptors == 1 => id,
            other => panic!("{other:?} with {descriptors} descriptors"),
        }
    }

    fn say(&self, what: &ToMaster<'_>) {
        let mut packet = Vec::new();
        what.encode(&mut packet);
        self.say_bytes(&packet);
    }

    fn say_bytes(&self, packet: &[u8]) {
        socket::send(&self.worker, packet, None).unwrap();
    }

    /// Waits until this many outcomes are known.
    async fn fates(&self, count: usize) -> Vec<(u32, &'static str)> {
        let begun = tokio::time::Instant::now();
        loop {
            let fates = self.fates.lock().unwrap().clone();
            if fates.len() >= count {
                return fates;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{fates:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn all(ids: &[u64]) -> Ids<'_> {
    Ids::batches(ids).next().expect("at least one")
}

#[tokio::test]
async fn connection_ends_as_its_worker_reports() {
    let scene = scene();
    scene.give(0..4);
    let mut given = Vec::new();
    for _ in 0..4 {
        given.push(scene.next_connection().await);
    }
    scene.say(&ToMaster::Taken(all(&given[..2])));
    scene.say(&ToMaster::Refused { reason: Refusal::Draining, ids: all(&given[2..3]) });
    scene.say(&ToMaster::Refused { reason: Refusal::NoDescriptor, ids: all(&given[3..]) });
    scene.say(&ToMaster::Ended(all(&given[..1])));
    let fates = [(0, "taken"), (1, "taken"), (2, "refused"), (3, "busy"), (0, "finished")];
    assert_eq!(scene.fates(5).await, fates);
    scene.handle.send(ChannelCommand::Ended { was_asked: true });
    assert_eq!(scene.fates(6).await[5], (1, "cut"), "it was told to end while it still had this one");
}

#[tokio::test]
async fn dead_worker_messages_are_read_before_reassignment() {
    let scene = scene();
    scene.give(0..3);
    let mut given = Vec::new();
    for _ in 0..3 {
        given.push(scene.next_connection().await);
    }
    // Both messages lie in the channel when the end of its process is reported.
    scene.say(&ToMaster::Taken(all(&given[1..2])));
    scene.handle.send(ChannelCommand::Ended { was_asked: false });
    assert_eq!(scene.fates(4).await, [(1, "taken"), (1, "upstream_reset"), (0, "reset"), (2, "reset")]);
    scene.task.await.unwrap();
    scene.handoff_sender.give(Box::new(Named(9, Arc::clone(&scene.fates))));
    assert_eq!(scene.fates.lock().unwrap()[4], (9, "refused"), "the worker is gone");
}

#[tokio::test]
async fn closed_channel_keeps_possibly_read_handoffs_until_exit() {
    let mut scene = scene();
    scene.give(0..1);
    scene.next_connection().await;
    let worker = std::mem::replace(&mut scene.worker, rustix::io::dup(std::io::stdin()).unwrap());
    drop(worker);
    assert!(matches!(scene.events.recv().await, Some(ChannelEvent::Closed)));
    scene.give(1..2);
    assert_eq!(scene.fates(1).await, [(1, "refused")], "what comes after it goes elsewhere");
    scene.handle.send(ChannelCommand::Ended { was_asked: false });
    assert_eq!(scene.fates(2).await[1], (0, "reset"));
}

#[tokio::test]
async fn ping_is_answered_only_by_its_own_pong() {
    let scene = scene();
    let (reply, mut answer) = oneshot::channel();
    scene.handle.send(ChannelCommand::Ping(reply));
    let (packet, _) = scene.read().await;
    let Ok(ToWorker::Ping { token }) = ToWorker::decode(&packet) else { panic!("{packet:?}") };
    scene.say(&ToMaster::Pong { token: token - 1 });
    scene.say(&ToMaster::Message("1"));
    tokio::task::yield_now().await;
    assert!(answer.try_recv().is_err());
    scene.say(&ToMaster::Pong { token });
    answer.await.unwrap();
}

#[tokio::test]
async fn messages_go_both_ways_within_their_bounds() {
    let mut scene = scene();
    let send = |text: String| {
        let (reply, answer) = oneshot::channel();
        scene.handle.send(ChannelCommand::Message(text, reply));
        answer
    };
    assert_eq!(send("{\"hello\":1}".to_owned()).await.unwrap(), Ok(()));
    let (packet, _) = scene.read().await;
    assert_eq!(ToWorker::decode(&packet), Ok(ToWorker::Message("{\"hello\":1}")));
    let long = format!("\"{}\"", "x".repeat(64 * 1024));
    assert_eq!(send(long.clone()).await.unwrap(), Err(Unsent::TooLong(long.len())));
    // A worker that does not read: the channel fills up, and returns an error.
    let mut last = Ok(());
    for _ in 0..2_000 {
        last = send("\"x\"".to_owned()).await.unwrap();
        if last.is_err() {
            break;
        }
    }
    assert_eq!(last, Err(Unsent::Full));
    scene.say(&ToMaster::Message("[2]"));
    assert!(matches!(scene.events.recv().await, Some(ChannelEvent::Message(text)) if text == "[2]"));
}

#[tokio::test]
async fn invalid_packet_changes_nothing_and_is_told_once() {
    let mut scene = scene();
    scene.give(0..1);
    let id = scene.next_connection().await;
    for packet in [&[9_u8][..], &[1], &[1, 2, 3], &[2, 1], &[3, 0], &[4], &[5, 1]] {
        scene.say_bytes(packet);
        scene.say_bytes(packet);
    }
    scene.say(&ToMaster::Ended(all(&[id])));
    scene.say(&ToMaster::Taken(all(&[id + 7])));
    scene.say(&ToMaster::Taken(all(&[id])));
    assert_eq!(scene.fates(1).await, [(0, "taken")]);
    let mut told = Vec::new();
    while let Ok(ChannelEvent::Strange(what)) = scene.events.try_recv() {
        told.push(what);
    }
    let mut once = told.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), told.len(), "{told:?}");
    assert!(told.len() >= 4, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn flood_of_messages_is_limited_and_ready_is_kept() {
    let mut scene = scene();
    for _ in 0..70 {
        scene.say(&ToMaster::Message("1"));
    }
    scene.say(&ToMaster::Message(READY));
    scene.say(&ToMaster::Message(READY));
    let mut told = Vec::new();
    let left_out = loop {
        match scene.events.recv().await {
            Some(ChannelEvent::Message(json)) => told.push(json),
            Some(ChannelEvent::LeftOut(left_out)) => break left_out,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told.iter().filter(|json| *json == READY).count(), 1, "once is enough");
    assert_eq!(told.len() as u64 + left_out, 72);

    // Messages that were left out are also reported at the end.
    for _ in 0..70 {
        scene.say(&ToMaster::Message("2"));
    }
    scene.handle.send(ChannelCommand::Ended { was_asked: true });
    scene.task.await.unwrap();
    let mut count = 0;
    while let Ok(events) = scene.events.try_recv() {
        count += match events {
            ChannelEvent::Message(_) => 1,
            ChannelEvent::LeftOut(left_out) => left_out,
            ChannelEvent::Closed => 0,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(count, 70);
}

/// Another process of the dead worker may do this, one that left its group and kept the descriptor.
#[tokio::test]
async fn packets_after_a_workers_end_are_not_waited_for() {
    let scene = scene();
    scene.give(0..1);
    scene.next_connection().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (told, end) = (Arc::clone(&is_over), scene.worker.try_clone().unwrap());
    let talking = std::thread::spawn(move || {
        let begun = tokio::time::Instant::now();
        while !told.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(5) {
            let _ = socket::send(&end, &[99], None);
        }
        told.store(true, Ordering::Relaxed);
    });
    scene.handle.send(ChannelCommand::Ended { was_asked: false });
    assert_eq!(scene.fates(1).await, [(0, "reset")]);
    scene.task.await.unwrap();
    assert!(!is_over.swap(true, Ordering::Relaxed), "ended only after it had nothing more to send");
    talking.join().unwrap();
}

#[tokio::test]
async fn unread_pings_are_merged_and_answered_by_one_pong() {
    let scene = scene();
    let ask = || {
        let (reply, answer) = oneshot::channel();
        scene.handle.send(ChannelCommand::Ping(reply));
        answer
    };
    let mut last = ask();
    for _ in 0..3_000 {
        last = ask();
        tokio::task::yield_now().await;
    }
    // The kernel's queue holds some hundreds of packets.
    let mut asked = 0;
    let token = loop {
        let (packet, _) = scene.read().await;
        let Ok(ToWorker::Ping { token }) = ToWorker::decode(&packet) else { panic!("{packet:?}") };
        asked += 1;
        if token == 3_001 {
            break token;
        }
    };
    assert!(asked < 2_000, "{asked}");
    scene.say(&ToMaster::Pong { token });
    last.await.unwrap();
}
