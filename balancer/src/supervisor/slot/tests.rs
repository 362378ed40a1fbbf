mod drain;
mod port_taken;
mod random;
mod replacement;
mod withdrawal;

use super::hang::Condition;
use super::process::DrainMethod;
use super::*;
use crate::config::Program;

fn config() -> config::PoolConfig {
    config::PoolConfig { settle: Duration::ZERO, ..config::PoolConfig::new("test", Program::Demo) }
}

fn slot() -> (Slot, Instant) {
    (Slot::new(Arc::new(config()), 1, 7), Instant::now())
}

/// A slot whose first process is ready.
fn ready() -> (Slot, Instant) {
    let (mut slot, now) = slot();
    slot.on(Event::Start, now);
    slot.on(Event::Ready(1), now);
    assert_eq!(slot.state(), SlotState::Ready);
    (slot, now)
}

fn replace(slot: &mut Slot, now: Instant) -> Vec<Effect> {
    slot.on(Event::Replace { config: Arc::new(config()), generation: 2, cause: Cause::Command }, now)
}

/// Advances time to the next deadline.
fn pass(slot: &mut Slot, now: &mut Instant) -> Vec<Effect> {
    *now = slot.next_deadline().expect("a deadline");
    slot.on(Event::Tick, *now)
}

#[test]
fn started_worker_enters_rotation_only_when_ready() {
    let (mut slot, now) = slot();
    assert_eq!(slot.on(Event::Start, now), [Effect::Launch(1)]);
    assert_eq!(slot.state(), SlotState::Starting);
    assert_eq!(slot.on(Event::Ready(1), now), [Effect::Admit(1), Effect::Switched { from: None, to: 1 }]);
    assert_eq!(slot.on(Event::Ready(1), now), [], "said twice");
    assert_eq!(slot.on(Event::Start, now), [], "runs already");
}

#[test]
fn first_crash_is_restarted_at_once() {
    let (mut slot, now) = ready();
    assert_eq!(slot.on(Event::Exited(1), now), [Effect::Restarted(Cause::Crash), Effect::Launch(2)]);
}

#[test]
fn crash_loop_waits_longer_then_is_failed_and_still_retried() {
    let (mut slot, mut now) = slot();
    slot.on(Event::Start, now);
    let mut waits = Vec::new();
    while slot.state() != SlotState::Failed {
        let present = slot.current().expect("a process").incarnation;
        slot.on(Event::Exited(present), now);
        if slot.state() != SlotState::Starting {
            let (begun, was) = (now, slot.state());
            let effects = pass(&mut slot, &mut now);
            waits.push(now - begun);
            assert!(matches!(effects[..], [Effect::Launch(_)]), "{effects:?}");
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
fn worker_never_ready_is_ended_and_started_again() {
    let (mut slot, mut now) = slot();
    slot.on(Event::Start, now);
    assert_eq!(pass(&mut slot, &mut now), [Effect::Late(1), Effect::Terminate(1)]);
    assert_eq!(slot.state(), SlotState::Stopping);
    assert_eq!(slot.on(Event::Ready(1), now), [], "too late");
    assert_eq!(pass(&mut slot, &mut now), [Effect::Kill(1)]);
    assert_eq!(slot.on(Event::Exited(1), now), [Effect::Restarted(Cause::NeverReady), Effect::Launch(2)]);
}

#[test]
fn bad_answers_make_worker_suspect_and_good_ones_ready() {
    let (mut slot, now) = ready();
    let mut see = |sign| slot.on(Event::Sign(1, sign), now);
    assert_eq!([see(Sign::Bad), see(Sign::Bad)], [[], []]);
    assert_eq!(see(Sign::Bad), [Effect::Suspect(1)]);
    assert_eq!(see(Sign::Good), []);
    assert_eq!(see(Sign::Good), [Effect::Admit(1)]);
    assert_eq!(slot.state(), SlotState::Ready);
}

#[test]
fn busy_worker_is_not_killed_and_becomes_ready_again() {
    let (mut slot, now) = ready();
    assert_eq!(slot.on(Event::Sign(1, Sign::Condition(Condition::Busy)), now), [Effect::Busy(1)]);
    assert_eq!(slot.state(), SlotState::Busy);
    assert_eq!(slot.on(Event::Hung(1), now), [], "it serves a client");
    assert_eq!(slot.on(Event::Sign(1, Sign::Condition(Condition::Well)), now), [Effect::Admit(1)]);
    assert_eq!(slot.state(), SlotState::Ready);
}

#[test]
fn hung_worker_is_killed_only_while_mute() {
    let (mut slot, now) = ready();
    assert_eq!(slot.on(Event::Hung(1), now), [], "it answers");
    slot.on(Event::Sign(1, Sign::Condition(Condition::Mute)), now);
    assert_eq!(slot.on(Event::Hung(1), now), [Effect::Kill(1)]);
    assert_eq!(slot.on(Event::Exited(1), now), [Effect::Restarted(Cause::Hung), Effect::Launch(2)]);
}

#[test]
fn stop_during_start_or_backoff_starts_nothing_more() {
    let (mut slot, mut now) = slot();
    slot.on(Event::Start, now);
    assert_eq!(slot.on(Event::Stop, now), [Effect::Terminate(1)]);
    assert_eq!(slot.on(Event::Exited(1), now), []);
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
fn restart_launches_only_when_old_process_is_gone() {
    let (mut slot, now) = ready();
    assert_eq!(slot.on(Event::Restart, now), [Effect::Drain(1)]);
    slot.on(Event::Quiesced(1, DrainMethod::CloseIdle), now);
    assert_eq!(slot.on(Event::Drained(1), now), [Effect::Terminate(1)]);
    assert_eq!(slot.on(Event::Exited(1), now), [Effect::Launch(2)]);
}

#[test]
fn postponed_start_happens_at_its_time() {
    let (mut slot, mut now) = slot();
    slot.on(Event::Start, now);
    slot.on(Event::Postponed(1, now + Duration::from_millis(50)), now);
    assert_eq!(slot.state(), SlotState::Backoff);
    assert_eq!(pass(&mut slot, &mut now), [Effect::Launch(1)]);
    slot.on(Event::Postponed(1, now + Duration::from_millis(50)), now);
    assert_eq!(slot.on(Event::Stop, now), [], "there is no process to end");
    assert_eq!(slot.state(), SlotState::Stopped);
}
