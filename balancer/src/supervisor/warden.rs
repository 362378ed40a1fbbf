//! A pool's task: waits for an event or a deadline, lets the pure parts decide, performs what they decide.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::boot::Boot;
use super::farewell::Ended;
use super::gate::Keeper;
use super::ledger::{Closes, Totals};
use super::member::{Context, Member};
use super::memory::MemoryWatch;
use super::porter::Porter;
use super::relief::Relief;
use super::slot::Event;
use super::suspicion::SuspicionLimit;
use super::vigil::Vigil;
use super::watch::Watch;
use super::weights::Weights;
use super::{Connections, Input, News, Order, Resources};
use super::{note::Note, operate::Operation};
use crate::channel;
use crate::config::GiveUp;
use crate::failure::{Failure, code};
use crate::mode::Acceptor;
use crate::os::child::ChildEvent;
use crate::pool::operation::Report;
use crate::pool::{Pool, SlotState};
use crate::rotation::SlotId;
use crate::stats::Refusal;

/// The generation of a pool's first workers.
const FIRST_GENERATION: u64 = 1;
/// How many inputs are taken before deadlines are looked at again.
const BATCH: usize = 255;

/// The task's own state.
pub(super) struct Warden {
    pub(super) pool: Arc<Pool>,
    pub(super) context: Arc<Context>,
    pub(super) members: Vec<Member>,
    /// How many slots there shall be; members beyond that are on their way out.
    pub(super) desired: u32,
    pub(super) generation: u64,
    /// The highest number that a reload was given, whatever became of it.
    pub(super) newest_generation: u64,
    pub(super) keeper: Keeper,
    boot: Boot,
    pub(super) vigil: Vigil,
    pub(super) suspicion: SuspicionLimit,
    pub(super) memory: MemoryWatch,
    /// What is being done by order.
    pub(super) operation: Option<Operation>,
    /// What happened that it may wait for.
    pub(super) notes: Vec<Note>,
    pub(super) last_report: Option<Arc<Report>>,
    pub(super) is_stopping: bool,
    /// When its end began, and how its counters stood then.
    pub(super) end_begun: Option<(Instant, Totals)>,
    /// What became of the connections of those that left since.
    pub(super) left: Closes,
    /// All are being killed by order, so no kill is news.
    pub(super) is_killing: bool,
    gave_up: Option<Failure>,
    /// Who is in rotation and with which weight, as last published.
    pub(super) published: Vec<(SlotId, u64, u32)>,
    pub(super) weights: Weights,
    pub(super) watch: Watch,
    /// Where the workers are Node's.
    pub(super) porter: Option<Porter>,
    pub(super) relief: Relief,
}

impl Warden {
    pub(super) fn new(
        pool: Arc<Pool>,
        resources: Arc<Resources>,
        connections: Arc<dyn Connections>,
        watch: Watch,
        inputs: mpsc::UnboundedSender<Input>,
    ) -> Self {
        let now = Instant::now();
        let context = Context {
            pool: Arc::clone(&pool),
            resources,
            connections,
            inputs,
            said: Default::default(),
            seldom: Default::default(),
        };
        let context = Arc::new(context);
        let count = pool.slots().len();
        let members = (0..count).map(|index| Member::new(index, FIRST_GENERATION, &context)).collect();
        let (hold_timeout, ready_timeout) = (pool.config().hold_timeout, pool.config().ready_timeout);
        Self {
            porter: Porter::of(&pool.config(), &pool.listening()),
            keeper: Keeper::new(hold_timeout, now),
            boot: Boot::new(now + ready_timeout),
            vigil: Vigil::new(now),
            suspicion: SuspicionLimit::default(),
            memory: MemoryWatch::default(),
            pool,
            context,
            members,
            desired: u32::try_from(count).unwrap_or(u32::MAX),
            generation: FIRST_GENERATION,
            newest_generation: FIRST_GENERATION,
            operation: None,
            notes: Vec::new(),
            last_report: None,
            is_stopping: false,
            end_begun: None,
            left: Closes::default(),
            is_killing: false,
            gave_up: None,
            published: Vec::new(),
            weights: Weights::new(count),
            watch,
            relief: Relief::new(count, now),
        }
    }

    /// Makes room for so many slots; those beyond are to be told to stop.
    pub(super) fn set_desired(&mut self, workers: u32) {
        let wanted = workers as usize;
        self.pool.grow(wanted);
        for index in self.members.len()..wanted {
            self.members.push(Member::new(index, self.generation, &self.context));
        }
        self.desired = workers;
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Input>) -> Result<Ended, Failure> {
        self.tell_all(&Event::Start);
        loop {
            self.publish();
            if self.is_stopping && self.members.iter().all(Member::is_over) {
                return self.ended();
            }
            let deadline = self.next_deadline();
            let timer = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                input = inbox.recv() => match input {
                    Some(input) => self.take_some(input, &mut inbox),
                    None => return self.ended(),
                },
                () = timer => {}
            }
            // Whoever talks how much, deadlines are met.
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.tick();
            }
            self.operate();
        }
    }

    /// Takes what has come, within bounds; all of it is published at once.
    fn take_some(&mut self, first: Input, inbox: &mut mpsc::UnboundedReceiver<Input>) {
        self.take(first);
        for input in std::iter::from_fn(|| inbox.try_recv().ok()).take(BATCH) {
            self.take(input);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let members = self.members.iter().filter_map(Member::next_deadline).min();
        let boot = if self.is_stopping { None } else { self.boot.next_deadline() };
        let vigil = self.vigil.next_deadline();
        let now = Instant::now();
        let weights = self.weights.next_deadline(&self.pool.config(), now);
        [members, boot, vigil, weights, self.keeper.next_deadline(now), self.watch.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.watch.look_if_due(&self.pool.config(), &self.pool.stats, now) {
            self.relieve(now);
            // Nobody else accepts there, and nobody is coming.
            if self.is_stopped() && self.members.iter().all(Member::is_over) {
                let rejected = self.watch.reject_waiting();
                self.pool.stats.refused[Refusal::NoWorker as usize].add(rejected);
            }
        }
        for index in 0..self.members.len() {
            if let Some(event) = self.members[index].waits_if_settling(now) {
                self.tell(index, event);
            }
            self.tell(index, Event::Tick);
            self.members[index].probe_if_due(now);
            self.members[index].look_if_due(now);
            let member = &mut self.members[index];
            let events: Vec<_> = member.watch_gates(now).into_iter().chain(member.beat_if_due(now)).collect();
            events.into_iter().for_each(|event| self.tell(index, event));
        }
        self.keep_vigil(now);
        // Before its deadline a start is judged when a process's last words are in, so that they can be told.
        if self.boot.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.judge_boot();
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Order(Order::Close) if self.pool.mode.acceptor() == Acceptor::Master => {
                self.begin_end();
                self.keeper.close();
            }
            // Where the workers accept, their drain is what closes the listeners: it does not wait for other pools.
            Input::Order(Order::Close | Order::Stop) => self.stop(Event::Stop),
            Input::Order(Order::Kill) => {
                self.is_killing = true;
                self.stop(Event::Kill);
            }
            Input::Ask(ask, reply) => self.ask(ask, reply),
            Input::Say(message, reply) => self.say(&message, reply),
            Input::Usage(usage, sockets) => self.usage_seen(&usage, &sockets),
            Input::Memory(measured) => self.memory_measured(measured),
            Input::Worker { slot, incarnation, news } if slot < self.members.len() => {
                self.hear(slot, incarnation, news);
            }
            Input::Worker { .. } => {}
        }
    }

    fn begin_end(&mut self) {
        self.end_begun.get_or_insert_with(|| (Instant::now(), Totals::of(&self.pool)));
    }

    fn ended(self) -> Result<Ended, Failure> {
        let (begun, before) = self.end_begun.unwrap_or_else(|| (Instant::now(), Totals::of(&self.pool)));
        let ended = Ended { pool: self.pool, begun, before, left: self.left, generation: self.generation };
        self.gave_up.map_or(Ok(ended), Err)
    }

    fn stop(&mut self, event: Event) {
        self.begin_end();
        self.is_stopping = true;
        self.keeper.close();
        self.relieve_all();
        self.watch.close();
        self.tell_all(&event);
    }

    /// A late word of a process that is no more changes nothing, but its last words belong to its story.
    fn hear(&mut self, index: usize, incarnation: u64, news: News) {
        let now = Instant::now();
        let member = &mut self.members[index];
        let event = match news {
            News::Child(ChildEvent::Forked { pid, stdout, stderr, .. }) => {
                member.forked(incarnation, pid, stdout, stderr, &self.context.resources.output)
            }
            News::Child(ChildEvent::Executed) => member.executed(incarnation, now),
            News::Child(ChildEvent::Failed(error)) => member.start_failed(incarnation, &error),
            News::Child(ChildEvent::LeaderEnded) => {
                member.leader_ended(incarnation);
                Some(Event::LeaderEnded(incarnation))
            }
            News::Child(ChildEvent::WentToBackground(name)) => {
                member.went_to_background(incarnation, name, now);
                None
            }
            News::Child(ChildEvent::Exited(exit)) => {
                let was_up = member.slot.current().is_some_and(|life| {
                    life.incarnation == incarnation && life.state().is_up() && life.fault.is_none()
                });
                let generation = member.slot.life(incarnation).map(|life| life.generation);
                member.exited(incarnation, Some(exit));
                let is_new = generation == self.operation.as_ref().and_then(Operation::rolled_generation);
                if was_up && is_new && member.slot.parked().is_none() {
                    let why = member.exit_of(incarnation).unwrap_or_default().to_owned();
                    self.notes.push(Note::Died { slot: index, why });
                }
                self.worker_left(index, incarnation);
                // It may have died of a listener that was shut down, and so would its heir.
                self.watch.look(&self.pool.config(), &self.pool.stats, now);
                Some(Event::Exited(incarnation))
            }
            News::Said(said) => member.said(incarnation, said, now),
            News::Channel(channel::News::Node(news, _unheard)) => self.node_said(index, incarnation, news),
            News::Channel(news) => member.channel_news(incarnation, news),
            News::Probed(verdict) => member.probed(incarnation, verdict, now),
            News::Checking(from) => {
                member.checking(incarnation, from);
                None
            }
            News::ConnectFailed => {
                member.probe_soon(incarnation, now);
                None
            }
            News::Drained => Some(Event::Drained(incarnation)),
            News::PortOwner(look) => member.port_owner_seen(incarnation, look),
            News::Accepts => Some(Event::Ready(incarnation)),
            News::Listens(addresses, cpu_seconds) => {
                member.listens(incarnation, &addresses, cpu_seconds, now);
                self.judge_boot();
                None
            }
            News::Spare(taken) => {
                member.spare(incarnation, taken);
                None
            }
            News::Counted(step, closes) => {
                member.counted();
                self.notes.push(Note::Left { step, closes });
                None
            }
            News::LastWords(lines) => {
                let note = member.last_words(incarnation, lines);
                self.notes.extend(note);
                self.judge_boot();
                None
            }
        };
        let event = event.and_then(|event| self.members[index].after_port_owner(event));
        if let Some(event) = event {
            self.tell(index, event);
        }
    }

    fn tell_all(&mut self, event: &Event) {
        for index in 0..self.members.len() {
            self.tell(index, event.clone());
        }
    }

    /// Gives a slot an event and performs what it decides.
    pub(super) fn tell(&mut self, index: usize, event: Event) {
        let now = Instant::now();
        let mut effects = VecDeque::from(self.members[index].slot.on(event, now));
        while let Some(effect) = effects.pop_front() {
            let follow_up = self.perform(index, effect, now);
            effects.extend(follow_up.map(|event| self.members[index].slot.on(event, now)).unwrap_or_default());
        }
        let was = self.members[index].note_state();
        let is = self.members[index].slot.state();
        match is {
            SlotState::Ready if was != is => self.boot.ready(),
            SlotState::Failed if was != is => self.slot_failed(index),
            _ => {}
        }
    }

    fn slot_failed(&mut self, index: usize) {
        let member = &self.members[index];
        let story = member.story();
        match self.pool.config().restart.give_up {
            GiveUp::Never => tracing::error!(
                worker = %story.worker, last = %story.what,
                "ended too often; tried again at the longest backoff"
            ),
            GiveUp::Exit => {
                let text = format!("{} ended too often (give-up = \"exit\")", story.worker);
                self.give_up(Failure::new(code::FAILED, text).cause(story.what));
            }
        }
    }

    fn judge_boot(&mut self) {
        if self.is_stopping {
            return;
        }
        let stories: Vec<_> = self.members.iter().map(Member::story).collect();
        if let Some(failure) = self.boot.verdict(&self.pool.config(), &stories, Instant::now()) {
            self.give_up(failure);
        }
    }

    fn give_up(&mut self, failure: Failure) {
        self.gave_up.get_or_insert(failure);
        self.take(Input::Order(Order::Kill));
    }
}
