//! Tests of a worker that withdraws by itself: it says that it ends, or closes its channel or its servers.

use super::*;

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
