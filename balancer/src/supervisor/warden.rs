//! A pool's task: waits for an event or a deadline, lets the pure parts decide, performs what they decide.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::boot::Boot;
use super::gate::Keeper;
use super::member::{Context, Member};
use super::slot::{Effect, Event};
use super::watch::Watch;
use super::{Connections, Input, News, Order, Resources};
use crate::config::GiveUp;
use crate::failure::{Failure, code};
use crate::mode::Acceptor;
use crate::os::child::{ChildEvent, Ending};
use crate::pool::{Pool, SlotState};
use crate::rotation::SlotId;
use crate::stats::Check;

/// How many inputs are taken before deadlines are looked at again.
const BATCH: usize = 255;

/// The task's own state.
pub(super) struct Warden {
    pub(super) pool: Arc<Pool>,
    resources: Arc<Resources>,
    pub(super) members: Vec<Member>,
    pub(super) keeper: Keeper,
    boot: Boot,
    pub(super) is_stopping: bool,
    /// All are being killed by order, so no kill is news.
    is_killing: bool,
    gave_up: Option<Failure>,
    /// Who is in rotation, as last published.
    pub(super) published: Vec<(SlotId, u64)>,
    watch: Watch,
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
        let context = Context { pool: Arc::clone(&pool), resources: Arc::clone(&resources), connections, inputs };
        let context = Arc::new(context);
        let members = (0..pool.slots().len()).map(|index| Member::new(index, &context)).collect();
        Self {
            keeper: Keeper::new(pool.config().hold_timeout, now),
            boot: Boot::new(now + pool.config().ready_timeout),
            pool,
            resources,
            members,
            is_stopping: false,
            is_killing: false,
            gave_up: None,
            published: Vec::new(),
            watch,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Input>) -> Result<(), Failure> {
        self.tell_all(Event::Start);
        loop {
            self.publish();
            if self.is_stopping && self.members.iter().all(|member| member.slot.state() == SlotState::Stopped) {
                return self.gave_up.map_or(Ok(()), Err);
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
                    None => return Ok(()),
                },
                () = timer => {}
            }
            // Whoever talks how much, deadlines are met.
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.tick();
            }
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
        [members, boot, self.keeper.next_deadline(Instant::now()), self.watch.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.watch.look_if_due(&self.pool.config(), &self.pool.stats, now);
        for index in 0..self.members.len() {
            self.tell(index, Event::Tick);
            self.members[index].probe_if_due(now);
            self.members[index].look_if_due(now);
        }
        // Before its deadline a start is judged when a process's last words are in, so that they can be told.
        if self.boot.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.judge_boot();
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Order(Order::Close) if self.pool.mode.acceptor() == Acceptor::Master => self.keeper.close(),
            // Where the workers accept, their drain is what closes the listeners: it does not wait for other pools.
            Input::Order(Order::Close | Order::Stop) => self.stop(Event::Stop),
            Input::Order(Order::Kill) => {
                self.is_killing = true;
                self.stop(Event::Kill);
            }
            Input::Ask(ask, reply) => {
                let _ = reply
                    .send(crate::pool::operation::Progress::Refused(format!("{} is not built", ask.verb().name())));
            }
            Input::Worker { slot, incarnation, news } => {
                // A late word of a process that is no more changes nothing, but its last words belong to its story.
                let Some(member) = self.members.get_mut(slot) else { return };
                if let News::LastWords(lines) = news {
                    member.last_words(incarnation, lines);
                    self.judge_boot();
                } else if member.slot.incarnation() == incarnation {
                    self.hear(slot, incarnation, news);
                }
            }
        }
    }

    fn stop(&mut self, event: Event) {
        self.is_stopping = true;
        self.keeper.close();
        self.watch.close();
        self.tell_all(event);
    }

    fn hear(&mut self, index: usize, incarnation: u64, news: News) {
        let now = Instant::now();
        let member = &mut self.members[index];
        let event = match news {
            News::Child(ChildEvent::Forked { pid, stdout, stderr, .. }) => {
                member.forked(pid, stdout, stderr, &self.resources.output).then_some(Event::Ready(incarnation))
            }
            News::Child(ChildEvent::Executed) => member.executed(now).then_some(Event::Ready(incarnation)),
            News::Child(ChildEvent::Failed(error)) => member.start_failed(&error).then_some(Event::Exited(incarnation)),
            News::Child(ChildEvent::Exited(exit)) => {
                member.exited(Some(exit));
                // It may have died of a listener that was shut down, and so would its heir.
                self.watch.look(&self.pool.config(), &self.pool.stats, now);
                Some(Event::Exited(incarnation))
            }
            News::Said(said) => member.said(said).then_some(Event::Ready(incarnation)),
            News::Probed(verdict) => {
                let is_ok = verdict.as_ref().map(|verdict| verdict.check == Check::Ok);
                let was_starting = member.slot.state() == SlotState::Starting;
                member.probed(verdict, now);
                match is_ok {
                    Some(true) if was_starting => Some(Event::Ready(incarnation)),
                    Some(is_ok) if !was_starting => Some(Event::Probed(incarnation, is_ok)),
                    _ => None,
                }
            }
            News::ConnectFailed => {
                member.probe_soon(now);
                None
            }
            News::Drained => Some(Event::Drained(incarnation)),
            News::Listens(addresses) => {
                member.listens(&addresses);
                None
            }
            News::LastWords(_) => None,
        };
        if let Some(event) = event {
            self.tell(index, event);
        }
    }

    fn tell_all(&mut self, event: Event) {
        for index in 0..self.members.len() {
            self.tell(index, event);
        }
    }

    /// Gives a slot an event and performs what it decides.
    fn tell(&mut self, index: usize, event: Event) {
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
            SlotState::Draining if was != is => self.members[index].await_drain(),
            SlotState::Failed if was != is => self.slot_failed(index),
            _ => {}
        }
    }

    fn perform(&mut self, index: usize, effect: Effect, now: Instant) -> Option<Event> {
        let member = &mut self.members[index];
        match effect {
            Effect::Launch(incarnation) => {
                if let Err(later) = self.resources.spend_spawn(now) {
                    return Some(Event::Postponed(later));
                }
                return member.launch(incarnation, self.watch.handles(), now).err().map(|error| {
                    member.start_failed(&error);
                    Event::Exited(incarnation)
                });
            }
            Effect::Admit => member.admitted(now),
            Effect::Withdraw => member.withdrawn(),
            Effect::Cut => member.cut(),
            Effect::Late => member.late(),
            Effect::Terminate => member.end(Ending::Terminate),
            Effect::Kill => {
                if !self.is_killing {
                    tracing::warn!(worker = %member.name(), "did not end within kill-timeout: killing its process group");
                }
                member.end(Ending::Kill);
            }
            Effect::Restarted(cause) => self.pool.slots()[index].restarts[cause as usize].increment(),
        }
        None
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
