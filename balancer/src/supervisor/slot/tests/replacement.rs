//! Tests of a replacement: the process beside the present one, and the parked process that it replaced.

use super::*;

#[test]
fn replacement_takes_over_when_ready_and_old_worker_drains() {
    let (mut slot, now) = ready();
    assert_eq!(replace(&mut slot, now), [Effect::Launch(2)]);
    assert_eq!((slot.state(), slot.generation()), (SlotState::Ready, 1), "nothing has changed");
    let effects = slot.on(Event::Ready(2), now);
    let switched = Effect::Switched { from: Some(1), to: 2 };
    assert_eq!(effects, [Effect::Admit(2), Effect::Drain(1), Effect::Restarted(Cause::Command), switched]);
    assert_eq!((slot.state(), slot.generation(), slot.retiring().len()), (SlotState::Ready, 2, 1));
    slot.on(Event::Quiesced(1, DrainMethod::CloseIdle), now);
    assert_eq!(slot.on(Event::Drained(1), now), [Effect::Terminate(1)]);
    assert_eq!(slot.on(Event::Exited(1), now), []);
    assert!(slot.retiring().is_empty());
}

#[test]
fn failed_replacement_changes_nothing() {
    let (mut slot, mut now) = ready();
    replace(&mut slot, now);
    assert_eq!(slot.on(Event::Exited(2), now), [Effect::ReplacementFailed(2)]);
    assert_eq!((slot.state(), slot.generation(), slot.exits()), (SlotState::Ready, 1, 0));
    replace(&mut slot, now);
    assert_eq!(pass(&mut slot, &mut now), [Effect::Late(3), Effect::Terminate(3), Effect::ReplacementFailed(3)]);
    assert_eq!(slot.on(Event::Exited(3), now), []);
    assert_eq!((slot.state(), slot.generation(), slot.next_deadline()), (SlotState::Ready, 1, None));
}

/// Creates a slot whose first process is parked and whose second one serves.
fn parked() -> (Slot, Instant) {
    let (mut slot, now) = ready();
    let config = Arc::new(config::PoolConfig { settle: Duration::from_secs(5), ..config() });
    slot.on(Event::Replace { config, generation: 2, cause: Cause::Command }, now);
    assert_eq!(slot.on(Event::Ready(2), now), [Effect::Admit(2)], "the old process gets no signal");
    assert_eq!(slot.parked().map(|process| process.incarnation), Some(1));
    (slot, now)
}

#[test]
fn parked_worker_drains_when_new_one_has_settled() {
    let (mut slot, mut now) = parked();
    let begun = now;
    let switched = Effect::Switched { from: Some(1), to: 2 };
    assert_eq!(pass(&mut slot, &mut now), [Effect::Drain(1), Effect::Restarted(Cause::Command), switched]);
    assert_eq!((now - begun, slot.generation()), (Duration::from_secs(5), 2));
}

#[test]
fn parked_worker_is_put_back_when_new_one_exits() {
    let (mut slot, now) = parked();
    let effects = slot.on(Event::Exited(2), now);
    assert!(matches!(effects[..], [Effect::Admit(1), Effect::PutBack { old: 1, new: 2, .. }]), "{effects:?}");
    assert_eq!((slot.state(), slot.generation()), (SlotState::Ready, 1));
    assert_eq!(slot.on(Event::Exited(1), now), [Effect::Restarted(Cause::Crash), Effect::Launch(3)]);
    assert_eq!(slot.generation(), 1, "the configuration that it was started with");
}

#[test]
fn parked_worker_is_put_back_when_new_one_takes_no_client() {
    for condition in [Condition::Mute, Condition::Busy] {
        let (mut slot, now) = parked();
        let effects = slot.on(Event::Sign(2, Sign::Condition(condition)), now);
        assert!(
            matches!(effects[..], [Effect::Admit(1), Effect::Drain(2), Effect::PutBack { old: 1, new: 2, .. }]),
            "{effects:?}"
        );
        assert_eq!((slot.state(), slot.generation()), (SlotState::Ready, 1));
    }
}

#[test]
fn waiting_client_keeps_replaced_worker_parked() {
    let (mut slot, mut now) = parked();
    now += Duration::from_secs(5);
    assert_eq!(slot.on(Event::Waits(2), now), []);
    assert_eq!(slot.on(Event::Tick, now), [], "it is not taken yet");
    assert_eq!(pass(&mut slot, &mut now)[0], Effect::Drain(1));
}

#[test]
fn parked_worker_ends_with_pool_or_by_itself() {
    let (mut slot, now) = parked();
    assert!(slot.on(Event::Stop, now).contains(&Effect::Drain(1)));
    let (mut slot, now) = parked();
    assert_eq!(slot.on(Event::Kill, now), [Effect::Kill(1), Effect::Kill(2)]);
    let (mut slot, now) = parked();
    let kept = [Effect::Restarted(Cause::Command), Effect::Switched { from: None, to: 2 }];
    assert_eq!(slot.on(Event::Exited(1), now), kept);
    let (mut slot, now) = parked();
    let effects = slot.on(Event::Abandon, now);
    assert!(effects.contains(&Effect::Drain(2)), "the roll has failed elsewhere: {effects:?}");
    assert_eq!(slot.generation(), 1);
}

#[test]
fn worker_that_dies_beside_its_replacement_is_restarted() {
    let (mut slot, now) = ready();
    replace(&mut slot, now);
    assert_eq!(slot.on(Event::Exited(1), now), [Effect::Restarted(Cause::Crash), Effect::Launch(3)]);
    assert_eq!(
        slot.on(Event::Ready(2), now)[..2],
        [Effect::Admit(2), Effect::Terminate(3)],
        "the replacement was first"
    );
}

#[test]
fn memory_replacements_back_off_and_count_as_exits() {
    let (mut slot, mut now) = ready();
    let mut waits = Vec::new();
    for replacement in 2..6 {
        slot.on(Event::Replace { config: Arc::new(config()), generation: 1, cause: Cause::Memory }, now);
        slot.on(Event::Ready(replacement), now);
        let begun = now;
        while slot.stays_big(now) {
            now += Duration::from_millis(10);
        }
        waits.push(now - begun);
    }
    assert!(waits.is_sorted() && waits[0].is_zero() && waits[3] > Duration::from_millis(300), "{waits:?}");
    slot.on(Event::Exited(5), now);
    assert_eq!(slot.state(), SlotState::Backoff, "its fifth exit in a row");
    // After a good run the next end counts as a first one.
    let (mut slot, now) = ready();
    for replacement in 2..5 {
        let later = now + Duration::from_secs(15 * replacement);
        slot.on(Event::Replace { config: Arc::new(config()), generation: 1, cause: Cause::Memory }, later);
        slot.on(Event::Ready(replacement), later);
        assert!(!slot.stays_big(later));
    }
}
