use super::*;
use crate::config::Program;

fn rules() -> config::Pool {
    config::Pool::new("test", Program::Demo)
}

fn slot() -> (Slot, Instant) {
    (Slot::new(rules(), 7), Instant::now())
}

fn ready(slot: &mut Slot, now: Instant) {
    slot.on(Event::Start, now);
    slot.on(Event::Ready(slot.incarnation()), now);
    assert_eq!(slot.state(), SlotState::Ready);
}

/// Lets time pass to the next deadline.
fn pass(slot: &mut Slot, now: &mut Instant) -> Vec<Effect> {
    *now = slot.next_deadline().expect("a deadline");
    slot.on(Event::Tick, *now)
}

#[test]
fn a_started_worker_enters_rotation_only_when_ready() {
    let (mut slot, now) = slot();
    assert_eq!(slot.on(Event::Start, now), [Effect::Launch(1)]);
    assert_eq!(slot.state(), SlotState::Starting);
    assert_eq!(slot.on(Event::Ready(1), now), [Effect::Admit]);
    assert_eq!(slot.on(Event::Ready(1), now), [], "said twice");
    assert_eq!(slot.on(Event::Start, now), [], "runs already");
}

#[test]
fn a_dead_worker_leaves_rotation_and_is_replaced_at_once_the_first_time() {
    let (mut slot, now) = slot();
    ready(&mut slot, now);
    let effects = slot.on(Event::Exited(1), now);
    assert_eq!(effects, [Effect::Withdraw, Effect::Restarted(Cause::Crash), Effect::Launch(2)]);
}

#[test]
fn a_worker_that_keeps_dying_young_waits_longer_and_ends_up_failed_but_is_still_tried() {
    let (mut slot, mut now) = slot();
    slot.on(Event::Start, now);
    let mut waits = Vec::new();
    while slot.state() != SlotState::Failed {
        slot.on(Event::Exited(slot.incarnation()), now);
        if slot.state() != SlotState::Starting {
            let begun = now;
            let was = slot.state();
            let effects = pass(&mut slot, &mut now);
            waits.push(now - begun);
            assert_eq!(effects, [Effect::Launch(slot.incarnation())]);
            if was == SlotState::Failed {
                break;
            }
        }
        assert!(waits.len() < 20, "never failed: {waits:?}");
    }
    assert!(waits.windows(2).take(5).all(|pair| pair[0] < pair[1]), "{waits:?}");
    assert!(slot.exits() >= 8, "{}", slot.exits());
}

#[test]
fn a_worker_that_is_never_ready_is_ended_and_tried_again() {
    let (mut slot, mut now) = slot();
    slot.on(Event::Start, now);
    assert_eq!(pass(&mut slot, &mut now), [Effect::Late, Effect::Terminate]);
    assert_eq!(slot.state(), SlotState::Stopping);
    assert_eq!(slot.on(Event::Ready(1), now), [], "too late");
    assert_eq!(pass(&mut slot, &mut now), [Effect::Kill]);
    let effects = slot.on(Event::Exited(1), now);
    assert_eq!(effects, [Effect::Withdraw, Effect::Restarted(Cause::NeverReady), Effect::Launch(2)]);
}

#[test]
fn failed_probes_take_it_out_and_good_ones_bring_it_back() {
    let (mut slot, now) = slot();
    ready(&mut slot, now);
    let probe = |slot: &mut Slot, is_ok| slot.on(Event::Probed(1, is_ok), now);
    assert_eq!(probe(&mut slot, false), []);
    assert!(slot.is_in_doubt());
    assert_eq!(probe(&mut slot, false), []);
    assert_eq!(probe(&mut slot, false), [Effect::Withdraw]);
    assert_eq!(slot.state(), SlotState::Suspect);
    assert_eq!(probe(&mut slot, true), []);
    assert_eq!(probe(&mut slot, true), [Effect::Admit]);
    assert_eq!(slot.state(), SlotState::Ready);
}

#[test]
fn a_stop_withdraws_waits_for_the_drain_then_terminates_then_kills() {
    let (mut slot, mut now) = slot();
    ready(&mut slot, now);
    assert_eq!(slot.on(Event::Stop, now), [Effect::Withdraw]);
    assert_eq!(slot.on(Event::Drained(1), now), [Effect::Terminate]);
    assert_eq!(pass(&mut slot, &mut now), [Effect::Kill]);
    assert_eq!(slot.on(Event::Exited(1), now), [Effect::Withdraw]);
    assert_eq!((slot.state(), slot.next_deadline()), (SlotState::Stopped, None));
}

#[test]
fn a_drain_that_does_not_end_is_cut_at_its_deadline() {
    let (mut slot, mut now) = slot();
    ready(&mut slot, now);
    slot.on(Event::Stop, now);
    let begun = now;
    assert_eq!(pass(&mut slot, &mut now), [Effect::Cut, Effect::Terminate]);
    assert_eq!(now - begun, rules().drain_timeout);
}

#[test]
fn a_stop_during_start_or_backoff_starts_nothing_more() {
    let (mut slot, mut now) = slot();
    slot.on(Event::Start, now);
    assert_eq!(slot.on(Event::Stop, now), [Effect::Terminate]);
    assert_eq!(slot.on(Event::Exited(1), now), [Effect::Withdraw]);
    assert_eq!(slot.state(), SlotState::Stopped);

    slot.on(Event::Start, now);
    slot.on(Event::Exited(2), now);
    slot.on(Event::Exited(3), now);
    assert_eq!(slot.state(), SlotState::Backoff);
    assert_eq!(slot.on(Event::Stop, now), []);
    now += Duration::from_secs(3600);
    assert_eq!(slot.on(Event::Tick, now), []);
    assert_eq!(slot.state(), SlotState::Stopped);
}

#[test]
fn a_never_ready_worker_on_its_way_out_is_not_started_again_after_a_stop() {
    let (mut slot, mut now) = slot();
    slot.on(Event::Start, now);
    pass(&mut slot, &mut now);
    slot.on(Event::Stop, now);
    assert_eq!(slot.on(Event::Exited(1), now), [Effect::Withdraw]);
    assert_eq!(slot.state(), SlotState::Stopped);
}

#[test]
fn a_postponed_start_happens_at_its_time() {
    let (mut slot, mut now) = slot();
    slot.on(Event::Start, now);
    slot.on(Event::Postponed(now + Duration::from_millis(50)), now);
    assert_eq!(slot.state(), SlotState::Backoff);
    assert_eq!(pass(&mut slot, &mut now), [Effect::Launch(2)]);
}

/// Whatever comes in whatever order: no process is forgotten, none is started beside another, and after a stop every
/// life ends.
#[test]
fn random_events_never_break_a_slot() {
    for seed in 0..2_000 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let (mut slot, mut now) = slot();
        let mut alive = None;
        let mut in_rotation = false;
        let mut feed = |slot: &mut Slot, event, now, alive: &mut Option<u64>| {
            if let Event::Exited(n) = event
                && *alive == Some(n)
            {
                *alive = None;
            }
            for effect in slot.on(event, now) {
                match effect {
                    Effect::Launch(n) => assert_eq!(alive.replace(n), None, "seed {seed}: two processes in one slot"),
                    Effect::Admit => {
                        assert!(alive.is_some(), "seed {seed}: admitted without a process");
                        in_rotation = true;
                    }
                    Effect::Withdraw => in_rotation = false,
                    Effect::Terminate | Effect::Kill => assert!(alive.is_some(), "seed {seed}: nobody to end"),
                    Effect::Cut | Effect::Late | Effect::Restarted(_) => {}
                }
            }
            assert_eq!(
                in_rotation,
                slot.state() == SlotState::Ready,
                "seed {seed}: {:?} after {event:?}",
                slot.state()
            );
        };
        for _ in 0..60 {
            let n = slot.incarnation().saturating_sub(chance.u64(0..2));
            // Only a living process exits.
            let exit = alive.map_or(Event::Tick, Event::Exited);
            let event = match chance.u32(0..9) {
                0 => Event::Start,
                1 => Event::Ready(n),
                2 | 3 => Event::Probed(n, chance.bool()),
                4 => exit,
                5 => Event::Drained(n),
                6 if chance.u32(0..4) == 0 => Event::Stop,
                7 if chance.u32(0..8) == 0 => Event::Kill,
                _ => Event::Tick,
            };
            now += Duration::from_millis(chance.u64(0..20_000));
            feed(&mut slot, event, now, &mut alive);
        }
        feed(&mut slot, Event::Stop, now, &mut alive);
        for _ in 0..4 {
            if let Some(due) = slot.next_deadline() {
                now = due;
                feed(&mut slot, Event::Tick, now, &mut alive);
            }
        }
        if let Some(n) = alive {
            feed(&mut slot, Event::Exited(n), now, &mut alive);
        }
        assert_eq!((slot.state(), alive), (SlotState::Stopped, None), "seed {seed}");
    }
}
