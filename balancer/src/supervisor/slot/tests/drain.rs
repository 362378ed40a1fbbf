//! Tests of a process that drains, from its leave of the rotation to its end.

use super::*;

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
