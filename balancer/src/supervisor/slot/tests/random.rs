//! Tests that a slot keeps its invariants for random events in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A command or event given to a slot; `usize` chooses among its processes.
#[derive(Clone, Debug)]
enum Command {
    Start,
    Stop,
    Restart,
    Kill,
    Replace,
    Abandon,
    Postpone(usize),
    Ready(usize),
    Sign(usize, Sign),
    Hung(usize),
    Exit(usize),
    Quiesced(usize, DrainMethod),
    Drained(usize),
    ChannelClosed(usize),
    Leaves(usize),
    Waits(usize),
    Stopping(usize),
    Closed(usize, bool),
    Wait(u64),
    ToDeadline,
}

fn command() -> impl Strategy<Value = Command> {
    let method = prop_oneof![
        Just(DrainMethod::Signal),
        Just(DrainMethod::CloseIdle),
        Just(DrainMethod::Wait),
        Just(DrainMethod::Disconnect)
    ];
    let sign = prop_oneof![
        Just(Sign::Good),
        Just(Sign::Bad),
        any::<bool>().prop_map(Sign::Ending),
        prop_oneof![Just(Condition::Well), Just(Condition::Busy), Just(Condition::Mute), Just(Condition::Stopped)]
            .prop_map(Sign::Condition)
    ];
    prop_oneof![
        3 => Just(Command::Start),
        1 => Just(Command::Stop),
        1 => Just(Command::Restart),
        1 => Just(Command::Kill),
        6 => Just(Command::Replace),
        1 => Just(Command::Abandon),
        1 => any::<usize>().prop_map(Command::Postpone),
        12 => any::<usize>().prop_map(Command::Ready),
        4 => (any::<usize>(), sign).prop_map(|(which, sign)| Command::Sign(which, sign)),
        2 => any::<usize>().prop_map(Command::Hung),
        6 => any::<usize>().prop_map(Command::Exit),
        6 => (any::<usize>(), method).prop_map(|(which, method)| Command::Quiesced(which, method)),
        6 => any::<usize>().prop_map(Command::Drained),
        3 => any::<usize>().prop_map(Command::ChannelClosed),
        2 => any::<usize>().prop_map(Command::Leaves),
        2 => any::<usize>().prop_map(Command::Waits),
        3 => any::<usize>().prop_map(Command::Stopping),
        3 => any::<(usize, bool)>().prop_map(|(which, is_closed)| Command::Closed(which, is_closed)),
        4 => (0u64..30_000).prop_map(Command::Wait),
        6 => Just(Command::ToDeadline),
    ]
}

/// The state of a living process as seen from outside.
#[derive(Debug, Default)]
struct Known {
    /// It said that it is ready before its end was decided.
    said_ready: bool,
    drain_since: Option<Instant>,
    quiesced: bool,
    /// It closed its channel or its servers.
    has_closed_channel: bool,
    disconnected: bool,
    told: Option<Instant>,
    may_be_killed: bool,
    says_stopping: bool,
}

/// A slot, and a model of its processes.
struct World {
    slot: Slot,
    config: Arc<config::PoolConfig>,
    now: Instant,
    alive: BTreeMap<u64, Known>,
    newest: u64,
}

impl World {
    fn new() -> Self {
        let (slot, now) = slot();
        let config = config::PoolConfig { settle: Duration::from_millis(500), ..config() };
        Self { slot, config: Arc::new(config), now, alive: BTreeMap::new(), newest: 0 }
    }

    fn choose(&self, which: usize) -> Option<u64> {
        self.alive.keys().nth(which.checked_rem(self.alive.len())?).copied()
    }

    fn event(&mut self, command: &Command) -> Option<Event> {
        Some(match *command {
            Command::Start => Event::Start,
            Command::Stop => Event::Stop,
            Command::Restart => Event::Restart,
            Command::Kill => {
                self.alive.values_mut().for_each(|known| known.may_be_killed = true);
                Event::Kill
            }
            Command::Replace => {
                Event::Replace { config: Arc::clone(&self.config), generation: 2, cause: Cause::Command }
            }
            Command::Abandon => Event::Abandon,
            Command::Postpone(which) => {
                // Only a process that was not started yet can be.
                let n = self.choose(which)?;
                let is_starting = self.slot.process(n).is_some_and(|process| process.is_starting());
                let until = self.now + Duration::from_millis(50);
                if !is_starting || self.alive[&n].has_closed_channel {
                    return None;
                }
                self.alive.remove(&n);
                Event::Postponed(n, until)
            }
            Command::Ready(which) => {
                let n = self.choose(which)?;
                self.alive.get_mut(&n)?.said_ready = true;
                Event::Ready(n)
            }
            Command::Sign(which, sign) => Event::Sign(self.choose(which)?, sign),
            Command::Hung(which) => {
                let n = self.choose(which)?;
                self.alive.get_mut(&n)?.may_be_killed = true;
                Event::Hung(n)
            }
            Command::Exit(which) => {
                let n = self.choose(which)?;
                self.alive.remove(&n);
                Event::Exited(n)
            }
            Command::Quiesced(which, method) => {
                let n = self.choose(which)?;
                self.alive.get_mut(&n)?.quiesced = true;
                Event::Quiesced(n, method)
            }
            Command::Drained(which) => Event::Drained(self.choose(which)?),
            Command::ChannelClosed(which) => {
                let n = self.choose(which)?;
                self.alive.get_mut(&n)?.has_closed_channel = true;
                Event::ChannelClosed(n)
            }
            Command::Waits(which) => Event::Waits(self.choose(which)?),
            Command::Leaves(which) => Event::Leaves(self.choose(which)?),
            Command::Stopping(which) => {
                let n = self.choose(which)?;
                self.alive.get_mut(&n)?.says_stopping = true;
                Event::Stopping(n)
            }
            Command::Closed(which, is_closed) => {
                let n = self.choose(which)?;
                self.alive.get_mut(&n)?.has_closed_channel = true;
                Event::ServersClosed(n, is_closed)
            }
            Command::Wait(millis) => {
                self.now += Duration::from_millis(millis);
                Event::Tick
            }
            Command::ToDeadline => {
                self.now = self.now.max(self.slot.next_deadline()?);
                Event::Tick
            }
        })
    }

    fn step(&mut self, command: &Command) {
        let Some(event) = self.event(command) else { return };
        let is_asked_to_end = matches!(event, Event::Stop | Event::Restart | Event::Kill);
        let before = self.slot.current().map(|process| process.incarnation);
        let effects = self.slot.on(event, self.now);
        let mut admitted = false;
        for effect in &effects {
            match *effect {
                Effect::Launch(n) => {
                    assert!(!self.alive.contains_key(&n), "started twice");
                    self.newest = self.newest.max(n);
                    self.alive.insert(n, Known::default());
                }
                Effect::Admit(n) => {
                    assert!(self.alive[&n].said_ready, "in rotation before it was ready");
                    admitted = true;
                }
                Effect::Busy(n) => assert!(self.alive[&n].said_ready, "busy before it was ready"),
                Effect::Drain(n) => {
                    let known = self.alive.get_mut(&n).expect("a living process drains");
                    let was_parked = before != Some(n);
                    assert!(
                        admitted || is_asked_to_end || was_parked || known.says_stopping,
                        "left the rotation before a replacement was ready"
                    );
                    assert_eq!(known.drain_since.replace(self.now), None, "drained twice");
                    known.quiesced = false;
                }
                Effect::Terminate(n) => {
                    let known = self.alive.get_mut(&n).expect("a living process gets the signal");
                    assert_eq!(known.told.replace(self.now), None, "told twice");
                    if let Some(since) = known.drain_since {
                        let is_late = self.now - since >= self.config.drain_timeout;
                        assert!(known.quiesced || is_late, "told while connections could reach it");
                    }
                }
                Effect::Disconnect(n) => {
                    let known = self.alive.get_mut(&n).expect("a living process is disconnected");
                    assert!(known.quiesced, "disconnected while connections could reach it");
                    assert!(!std::mem::replace(&mut known.disconnected, true), "disconnected twice");
                    assert_eq!(known.told, None, "disconnected after it was told to end");
                }
                Effect::Abort(n) => {
                    let since = self.alive[&n].drain_since.expect("only what drains is cut");
                    assert!(self.now - since >= self.config.drain_timeout, "cut before the deadline");
                }
                Effect::Kill(n) => {
                    let known = self.alive.get_mut(&n).expect("a living process is killed");
                    let gate_missed = known.drain_since.is_some_and(|since| {
                        let patience = self.config.drain_timeout.min(Duration::from_secs(3));
                        !known.quiesced && self.now - since >= patience
                    });
                    let had_time =
                        gate_missed || known.told.is_some_and(|told| self.now - told >= self.config.kill_timeout);
                    assert!(had_time || known.may_be_killed, "killed without notice");
                    known.may_be_killed = true;
                }
                Effect::CloseIdle(n) | Effect::Late(n) | Effect::Suspect(n) => assert!(self.alive.contains_key(&n)),
                Effect::ReplacementFailed(_) => {
                    let after = self.slot.current().map(|process| process.incarnation);
                    // The end of a backoff may fall together with it, or the deadline of a closed channel.
                    let has_left = |known: &Known| known.has_closed_channel || known.says_stopping;
                    let had_closed_channel = before.and_then(|n| self.alive.get(&n)).is_some_and(has_left);
                    assert!(
                        before.is_none() || had_closed_channel || before == after,
                        "a failed replacement changed the present process"
                    );
                }
                Effect::PutBack { old, new, .. } => {
                    assert_eq!(self.slot.current().map(|process| process.incarnation), Some(old), "it serves again");
                    assert!(self.alive[&old].told.is_none() && old != new, "it got no signal");
                }
                Effect::Restarted(_) | Effect::Switched { .. } => {}
            }
        }
        self.check();
    }

    fn check(&self) {
        let is_born = |process: &&ProcessState| !process.is_postponed();
        let known: Vec<u64> = self.slot.processes.iter().filter(is_born).map(|process| process.incarnation).collect();
        let alive: Vec<u64> = self.alive.keys().copied().collect();
        let mut sorted = known.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, alive, "the slot knows every living process, and no dead one");
        if let Some(process) = self.slot.current().filter(|_| self.slot.state() == SlotState::Ready) {
            let known = &self.alive[&process.incarnation];
            assert!(known.said_ready && known.drain_since.is_none() && known.told.is_none());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    /// Runs 1,500 sequences of 100 steps. No process is forgotten or gets its signal twice; none is killed without
    /// notice, or gets its signal while connections could reach it; a replacement that fails changes nothing; after a
    /// stop every process ends.
    #[test]
    fn random_commands_never_break_a_slot(commands in prop::collection::vec(command(), 100)) {
        let mut world = World::new();
        for command in &commands {
            world.step(command);
        }
        world.step(&Command::Stop);
        for _ in 0..100 {
            if world.slot.is_over() {
                break;
            }
            world.step(&Command::ToDeadline);
            if world.alive.values().any(|known| known.told.is_some() || known.may_be_killed) {
                world.step(&Command::Exit(0));
            }
        }
        prop_assert!(world.slot.is_over(), "{:?}", world.slot);
    }
}
