mod port_taken;
mod random;

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
fn busy_worker_outlasts_the_drain_timeout_when_replaced() {
    let (mut slot, mut now) = ready();
    slot.on(Event::Sign(1, Sign::Condition(Condition::Busy)), now);
    slot.on(Event::Replace { config: Arc::new(config()), generation: 1, cause: Cause::Busy }, now);
    assert_eq!(slot.on(Event::Exited(2), now), [Effect::ReplacementFailed(2)]);
    assert_eq!(slot.state(), SlotState::Busy, "nothing was ended");
    slot.on(Event::Replace { config: Arc::new(config()), generation: 1, cause: Cause::Busy }, now);
    assert!(slot.on(Event::Ready(3), now).contains(&Effect::Drain(1)));
    assert!(slot.process(1).is_some_and(|process| process.was_busy), "its queue is to be emptied");
    slot.on(Event::Quiesced(1, DrainMethod::CloseIdle), now);
    let begun = now;
    assert_eq!(pass(&mut slot, &mut now)[0], Effect::Abort(1));
    assert_eq!(now - begun, config().idle_timeout);
}

#[test]
fn long_drain_ends_at_drain_timeout_when_slot_stops() {
    let (mut slot, mut now) = ready();
    slot.on(Event::Sign(1, Sign::Condition(Condition::Busy)), now);
    slot.on(Event::Replace { config: Arc::new(config()), generation: 1, cause: Cause::Busy }, now);
    slot.on(Event::Ready(2), now);
    assert!(slot.retiring().iter().all(ProcessState::has_long_drain));
    slot.on(Event::Stop, now);
    slot.on(Event::Exited(2), now);
    let begun = now;
    assert_eq!(pass(&mut slot, &mut now), [Effect::Kill(1)], "it never emptied its queue");
    assert_eq!(now - begun, config().drain_timeout);
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
fn drain_signal_comes_only_after_quiesce() {
    for (method, once_quiesced) in [
        (DrainMethod::Signal, vec![Effect::Terminate(1)]),
        (DrainMethod::CloseIdle, vec![Effect::CloseIdle(1)]),
        (DrainMethod::Wait, vec![]),
    ] {
        let (mut slot, mut now) = ready();
        assert_eq!(slot.on(Event::Stop, now), [Effect::Drain(1)]);
        assert_eq!(slot.on(Event::Quiesced(1, method), now), once_quiesced, "{method:?}");
        let at_the_end = if method == DrainMethod::Signal { vec![] } else { vec![Effect::Terminate(1)] };
        assert_eq!(slot.on(Event::Drained(1), now), at_the_end, "{method:?}: told once");
        assert_eq!(slot.state(), SlotState::Stopping);
        assert_eq!(pass(&mut slot, &mut now), [Effect::Kill(1)]);
        assert_eq!(slot.on(Event::Exited(1), now), []);
        assert_eq!((slot.state(), slot.next_deadline()), (SlotState::Stopped, None));
    }
}

#[test]
fn node_worker_is_disconnected_then_terminated_then_killed() {
    let (mut slot, mut now) = ready();
    slot.on(Event::Stop, now);
    slot.on(Event::Drained(1), now);
    assert_eq!(
        slot.on(Event::Quiesced(1, DrainMethod::Disconnect), now),
        [Effect::Disconnect(1)],
        "the master does not see its connections"
    );
    assert_eq!(slot.on(Event::Drained(1), now), [], "no handed connection is left, but it may have others");
    let begun = now;
    assert_eq!(pass(&mut slot, &mut now), [Effect::Terminate(1)]);
    assert_eq!(now - begun, config().drain_timeout);
    assert_eq!(pass(&mut slot, &mut now), [Effect::Kill(1)]);
}

#[test]
fn node_worker_with_closed_channel_is_terminated_after_1_s() {
    let (mut slot, mut now) = ready();
    slot.on(Event::Stop, now);
    slot.on(Event::Quiesced(1, DrainMethod::Disconnect), now);
    let begun = now;
    assert_eq!(slot.on(Event::ChannelClosed(1), now), [], "it may be about to end");
    assert_eq!(pass(&mut slot, &mut now), [Effect::Terminate(1)]);
    assert_eq!(now - begun, Duration::from_secs(1));
}

#[test]
fn worker_that_says_stopping_and_stays_is_replaced() {
    let (mut slot, mut now) = ready();
    assert_eq!(slot.on(Event::Stopping(1), now), [Effect::Suspect(1)]);
    let begun = now;
    assert_eq!(slot.on(Event::Stopping(1), now + Duration::from_secs(1)), [], "said twice");
    let replaced = [Effect::Drain(1), Effect::Restarted(Cause::Left), Effect::Launch(2)];
    assert_eq!(pass(&mut slot, &mut now), replaced);
    assert_eq!(now - begun, config().kill_timeout);
    assert_eq!(slot.on(Event::Ready(2), now), [Effect::Admit(2), Effect::Switched { from: None, to: 2 }]);
    slot.on(Event::Quiesced(1, DrainMethod::CloseIdle), now);
    assert_eq!(slot.on(Event::Drained(1), now), [Effect::Terminate(1)]);
    assert_eq!(slot.on(Event::Exited(1), now), []);
    assert_eq!(slot.state(), SlotState::Ready);
}

#[test]
fn worker_that_says_stopping_and_exits_counts_as_an_exit() {
    let (mut slot, now) = ready();
    slot.on(Event::Stopping(1), now);
    assert_eq!(slot.on(Event::Exited(1), now), [Effect::Restarted(Cause::Crash), Effect::Launch(2)]);
}

#[test]
fn group_whose_leader_exited_has_kill_timeout_to_end() {
    let (mut slot, mut now) = ready();
    slot.on(Event::Stop, now);
    slot.on(Event::Quiesced(1, DrainMethod::Disconnect), now);
    let begun = now;
    assert_eq!(slot.on(Event::LeaderEnded(1), now), []);
    assert_eq!(pass(&mut slot, &mut now), [Effect::Kill(1)], "the spawner has sent the signal to the rest");
    assert_eq!(now - begun, config().kill_timeout);
}

#[test]
fn worker_that_closes_its_channel_leaves_rotation() {
    let (mut slot, mut now) = ready();
    assert_eq!(slot.on(Event::ChannelClosed(1), now), [Effect::Suspect(1)]);
    let begun = now;
    let replaced = [Effect::Restarted(Cause::Left), Effect::Launch(2), Effect::Terminate(1)];
    assert_eq!(pass(&mut slot, &mut now), replaced, "it runs on, and cannot serve");
    assert_eq!(now - begun, Duration::from_secs(1));

    let (mut slot, now) = ready();
    slot.on(Event::ChannelClosed(1), now);
    assert_eq!(
        slot.on(Event::Exited(1), now),
        [Effect::Restarted(Cause::Crash), Effect::Launch(2)],
        "the channel closed because the process died"
    );
}

#[test]
fn leaving_worker_finishes_while_another_starts() {
    let (mut slot, mut now) = ready();
    assert_eq!(slot.on(Event::Leaves(1), now), [Effect::Restarted(Cause::Left), Effect::Launch(2)]);
    assert_eq!(slot.retiring().len(), 1);
    slot.on(Event::Ready(2), now);
    assert_eq!(slot.on(Event::Leaves(1), now), [], "said twice");
    let begun = now;
    assert_eq!(pass(&mut slot, &mut now), [Effect::Terminate(1)], "it did not exit by itself");
    assert_eq!(now - begun, config().drain_timeout);
    assert_eq!(slot.on(Event::Exited(1), now), []);
}

#[test]
fn worker_that_leaves_repeatedly_backs_off_like_crashes() {
    let (mut slot, mut now) = ready();
    slot.on(Event::Leaves(1), now);
    slot.on(Event::Ready(2), now);
    assert_eq!(slot.on(Event::Leaves(2), now), [Effect::Restarted(Cause::Left)]);
    assert_eq!(slot.state(), SlotState::Backoff);
    assert_eq!(slot.on(Event::Exited(2), now), []);
    assert_eq!(pass(&mut slot, &mut now), [Effect::Launch(3)]);
}

#[test]
fn worker_with_closed_servers_is_replaced_unless_reopened() {
    let (mut slot, mut now) = ready();
    assert_eq!(slot.on(Event::ServersClosed(1, true), now), [Effect::Suspect(1)]);
    assert_eq!(slot.on(Event::ServersClosed(1, false), now), [Effect::Admit(1)]);
    assert_eq!(slot.next_deadline(), None);
    slot.on(Event::ServersClosed(1, true), now);
    let begun = now;
    assert_eq!(pass(&mut slot, &mut now), [Effect::Restarted(Cause::Left), Effect::Launch(2)]);
    assert_eq!(now - begun, Duration::from_secs(1));
    slot.on(Event::Ready(2), now);
    assert_eq!(pass(&mut slot, &mut now), [Effect::Terminate(1)], "it had its time to finish its connections");
    assert_eq!(now - begun, Duration::from_secs(1) + config().drain_timeout);
}

#[test]
fn stopped_worker_that_says_it_leaves_keeps_drain_timeout() {
    let (mut slot, mut now) = ready();
    slot.on(Event::Stop, now);
    slot.on(Event::Quiesced(1, DrainMethod::Disconnect), now);
    let begun = now;
    assert_eq!(slot.on(Event::Leaves(1), now), []);
    assert_eq!(pass(&mut slot, &mut now), [Effect::Terminate(1)]);
    assert_eq!(now - begun, config().drain_timeout);
}

#[test]
fn idle_worker_is_terminated_only_after_quiesce() {
    let (mut slot, now) = ready();
    slot.on(Event::Stop, now);
    assert_eq!(slot.on(Event::Drained(1), now), [], "its queue may hold connections");
    assert_eq!(slot.on(Event::Quiesced(1, DrainMethod::CloseIdle), now), [Effect::Terminate(1)]);
}

#[test]
fn unfinished_drain_is_cut_at_its_deadline() {
    for method in [DrainMethod::CloseIdle, DrainMethod::Signal] {
        let (mut slot, mut now) = ready();
        slot.on(Event::Stop, now);
        slot.on(Event::Quiesced(1, method), now);
        let begun = now;
        let told = if method == DrainMethod::Signal { vec![] } else { vec![Effect::Terminate(1)] };
        assert_eq!(pass(&mut slot, &mut now), [vec![Effect::Abort(1)], told].concat(), "{method:?}");
        assert_eq!(now - begun, config().drain_timeout);
        assert_eq!(pass(&mut slot, &mut now), [Effect::Kill(1)]);
        assert_eq!(now - begun, config().drain_timeout + config().kill_timeout);
    }
}

#[test]
fn draining_worker_that_keeps_its_queue_is_killed() {
    let (mut slot, mut now) = ready();
    slot.on(Event::Stop, now);
    let begun = now;
    assert_eq!(pass(&mut slot, &mut now), [Effect::Kill(1)]);
    assert_eq!(now - begun, config().drain_timeout);

    let (mut slot, mut now) = ready();
    slot.on(Event::Sign(1, Sign::Condition(Condition::Mute)), now);
    slot.on(Event::Stop, now);
    let begun = now;
    assert_eq!(pass(&mut slot, &mut now), [Effect::Kill(1)], "sooner, since it seemed hung before");
    assert!(now - begun < config().drain_timeout);
}

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
