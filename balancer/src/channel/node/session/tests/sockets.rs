//! One socket is in flight at a time, and each is taken, refused or taken back exactly once.

use super::*;

#[test]
fn lines_after_a_socket_wait_for_its_ack_in_order() {
    let mut session = listening();
    session.give(1, KEY).unwrap();
    session.message(&json!("hello")).unwrap();
    session.give(2, KEY).unwrap();
    assert_eq!(said(&mut session).len(), 1);
    assert_eq!((session.in_flight(), session.received(&accepted(1, true))), (Some(1), vec![NodeEvent::Taken(1)]));
    assert_eq!(said(&mut session), [], "the worker took it, but has not acknowledged the socket yet");
    assert_eq!(session.in_flight(), None, "it cannot be taken back");
    assert_eq!(session.received(ACK), []);
    let next = said(&mut session);
    assert_eq!(next.first(), Some(&(json!("hello"), None)));
    assert_eq!(next.get(1).and_then(|(_, attached)| *attached), Some(Attached::Connection(2)));
    assert_eq!(next.len(), 2);
}

#[test]
fn ack_of_a_workers_socket_overtakes_waiting_lines() {
    let mut session = listening();
    session.give(1, KEY).unwrap();
    assert_eq!(said(&mut session).len(), 1);
    session.message(&json!("later")).unwrap();
    let theirs = b"{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Socket\",\"msg\":{\"a\":1}}\n";
    session.descriptor_came();
    assert_eq!(session.received(theirs), [NodeEvent::StrayDescriptor]);
    assert!(matches!(&*session.received(theirs), [NodeEvent::Ignored(_)]), "this line came without a socket");
    let ours = said(&mut session);
    assert_eq!(ours, [(json!({"cmd": "NODE_HANDLE_ACK"}), None), (json!({"cmd": "NODE_HANDLE_NACK"}), None)]);
}

#[test]
fn socket_that_did_not_arrive_is_sent_three_times_more() {
    let mut session = listening();
    session.give(1, KEY).unwrap();
    session.give(2, KEY).unwrap();
    let first = said(&mut session);
    for _ in 0..3 {
        assert_eq!(session.received(NACK), []);
        assert_eq!(said(&mut session), first, "the same line by the same number");
    }
    assert_eq!(session.received(NACK), [NodeEvent::Refused(1, Why::NoDescriptorAfterRetries)]);
    assert_eq!(said(&mut session).first().and_then(|(_, attached)| *attached), Some(Attached::Connection(2)));
    assert_eq!(
        session.received(&[NACK, &accepted(2, false)].concat()),
        [NodeEvent::Ignored("an answer, but nothing was asked")]
    );
    assert_eq!(said(&mut session).len(), 1, "the worker cannot answer for a number that it does not have");
    assert_eq!(session.received(&[ACK, &accepted(2, false)].concat()), [NodeEvent::Refused(2, Why::NotAccepted)]);
}

#[test]
fn answered_connection_is_never_sent_again() {
    let mut session = listening();
    session.give(1, KEY).unwrap();
    said(&mut session);
    assert_eq!(
        session.received(&[accepted(1, false), NACK.to_vec()].concat()),
        [NodeEvent::Refused(1, Why::NotAccepted)]
    );
    assert_eq!(said(&mut session), [], "it may be with another worker by now");
}

#[test]
fn waiting_connection_is_withdrawn_and_written_one_is_not() {
    let mut session = listening();
    [1, 2, 3].into_iter().for_each(|connection| session.give(connection, KEY).unwrap());
    assert_eq!(said(&mut session).len(), 1);
    assert!(!session.withdraw(1));
    assert!(session.withdraw(2));
    assert!(!session.withdraw(2));
    assert_eq!(session.unacknowledged().collect::<Vec<_>>(), [1, 3]);
    session.received(NACK);
    assert!(session.withdraw(1), "it can be taken back");
    assert_eq!(said(&mut session).first().and_then(|(_, attached)| *attached), Some(Attached::Connection(3)));
}

#[test]
fn lone_line_in_socket_can_be_reclaimed() {
    let mut session = listening();
    session.give(1, KEY).unwrap();
    assert!(!session.is_clean(), "nothing is on its way");
    assert_eq!(said(&mut session).len(), 1);
    assert!(!session.reclaimed(1), "our answer may be unread too");
    session.received(&[ACK, &accepted(1, true)].concat());
    session.give(2, KEY).unwrap();
    session.give(3, KEY).unwrap();
    said(&mut session);
    assert!(session.is_clean());
    assert!(!session.reclaimed(3) && session.reclaimed(2) && !session.reclaimed(2));
    assert_eq!(session.unacknowledged().collect::<Vec<_>>(), [3]);
    said(&mut session);
    assert_eq!((session.in_flight(), session.is_clean()), (Some(3), true));
    session.descriptor_came();
    session.received(b"{\"cmd\":\"NODE_HANDLE\"}\n");
    said(&mut session);
    assert!(!session.is_clean(), "our word came after it");
    session.received(ACK);
    session.give(4, KEY).unwrap();
    said(&mut session);
    assert!(!session.is_clean(), "that it read the socket does not say that it read the word after it");
}

#[test]
fn ping_is_a_socket_line_without_socket_answered_by_nack() {
    let mut session = listening();
    assert!(session.ping(9));
    assert!(!session.ping(10));
    session.give(1, KEY).unwrap();
    let [(ping, None)] = &*said(&mut session) else { panic!("the ping alone, without a socket") };
    assert_eq!(ping["cmd"], "NODE_HANDLE");
    assert_eq!(session.in_flight(), None);
    assert_eq!(session.received(NACK), [NodeEvent::Pong(9)]);
    assert_eq!(said(&mut session).len(), 1);
    assert_eq!(session.received(ACK), []);
    assert!(session.ping(10));
}

#[test]
fn worker_holds_at_most_max_pending_connections() {
    let mut session = listening();
    let most = MAX_PENDING as u64;
    (0..most).for_each(|connection| session.give(connection, KEY).unwrap());
    assert_eq!(session.give(most, KEY), Err(SendError::Full));
    assert_eq!(session.give(3, KEY), Err(SendError::GivenTwice(3)));
    assert_eq!(session.give(99, "another"), Err(SendError::NotOn("another".into())));
    said(&mut session);
    session.received(&[ACK, &accepted(1, true)].concat());
    session.give(most, KEY).unwrap();
    assert!(session.unacknowledged().eq(1..=most), "all others, in order");
}
