//! Tests of a worker whose private port another user has taken.

use super::*;

#[test]
fn taken_port_ends_a_starting_and_a_ready_worker() {
    let (mut slot, now) = slot();
    slot.on(Event::Start, now);
    assert_eq!(slot.on(Event::PortTaken(1), now), [Effect::Terminate(1)]);
    assert_eq!(slot.state(), SlotState::Stopping);
    assert_eq!(slot.on(Event::Ready(1), now), [], "its ready message is ignored now");
    assert_eq!(slot.on(Event::PortTaken(1), now), [], "once is enough");
    let (mut slot, now) = ready();
    assert_eq!(slot.on(Event::PortTaken(7), now), [], "of another process");
    assert_eq!(slot.on(Event::PortTaken(1), now), [Effect::Terminate(1)]);
    slot.on(Event::Exited(1), now);
    assert_eq!(slot.newest(), 2, "another one is started");
}
