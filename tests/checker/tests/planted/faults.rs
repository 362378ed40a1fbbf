//! The checker finds exactly the faults of a server that does something wrong in every tenth request.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use roundelay_checker::{Allowance, Ask, CheckResult, Class, ClientKind, Plan, Protocol, Record, Target, Token};

use crate::server::{Fault, Seen, Server};
use crate::{carry_out, only, plan, raw};

const COUNT: u64 = 200;

/// Plants a fault in every tenth operation, by its number.
fn every_tenth(fault: Fault) -> impl FnMut(Seen) -> Option<Fault> + Send + 'static {
    move |seen| (seen.number % 10 == 3).then_some(fault)
}

/// Checks that the failures are those of the operations that were harmed.
#[track_caller]
fn same_operations(record: &Record, server: &Server) {
    let mut failed: Vec<_> =
        record.failures().iter().map(|failure| Token::parse(failure.token.as_bytes()).unwrap().number()).collect();
    failed.sort_unstable();
    assert_eq!(failed, server.harmed());
}

#[track_caller]
fn found(server: &Server, plan: Plan, class: Class) {
    let record = carry_out(plan);
    only(&record, class, COUNT / 10);
    same_operations(&record, server);
    assert!(record.analyse(&Allowance::none()).is_err());
    assert_eq!(record.analyse(&Allowance::none().allow(class, COUNT / 10)), Ok(()));
}

#[track_caller]
fn found_over_http(kind: ClientKind, fault: Fault, class: Class) {
    let server = Server::http(every_tenth(fault));
    found(&server, plan(server.address, kind, COUNT), class);
}

#[track_caller]
fn found_over_tcp(kind: ClientKind, fault: Fault, class: Class) {
    let server = Server::raw(every_tenth(fault));
    found(&server, raw(plan(server.address, kind, COUNT)), class);
}

#[test]
fn reset_before_the_answer_is_found() {
    found_over_http(ClientKind::OneShot, Fault::Reset, Class::ResetBeforeFirstByte);
    found_over_http(ClientKind::HalfClose, Fault::Reset, Class::ResetBeforeFirstByte);
    found_over_tcp(ClientKind::OneShot, Fault::Reset, Class::ResetBeforeFirstByte);
}

#[test]
fn end_before_the_answer_is_found() {
    found_over_http(ClientKind::OneShot, Fault::Close, Class::ClosedBeforeFirstByte);
    found_over_tcp(ClientKind::OneShot, Fault::Close, Class::ClosedBeforeFirstByte);
    found_over_tcp(ClientKind::HalfClose, Fault::Close, Class::ClosedBeforeFirstByte);
}

#[test]
fn reset_within_the_answer_is_found() {
    for kind in [
        ClientKind::OneShot,
        ClientKind::HalfClose,
        ClientKind::KeepAlive,
        ClientKind::SlowReader,
        ClientKind::WebSocket,
    ] {
        let server = Server::http(every_tenth(Fault::ResetMidway));
        let mut plan = plan(server.address, kind, COUNT);
        plan.slow.bytes = 1000;
        plan.session.interval = Duration::from_millis(10);
        plan.session.messages = 3;
        found(&server, plan, Class::ResetMidway);
    }
    found_over_tcp(ClientKind::OneShot, Fault::ResetMidway, Class::ResetMidway);
}

#[test]
fn end_within_the_answer_is_found() {
    for kind in [ClientKind::OneShot, ClientKind::HalfClose, ClientKind::KeepAlive, ClientKind::WebSocket] {
        let server = Server::http(every_tenth(Fault::Truncate));
        let mut plan = plan(server.address, kind, COUNT);
        plan.session.interval = Duration::from_millis(10);
        plan.session.messages = 3;
        found(&server, plan, Class::Truncated);
    }
    found_over_tcp(ClientKind::OneShot, Fault::Truncate, Class::Truncated);
    found_over_tcp(ClientKind::HalfClose, Fault::Truncate, Class::Truncated);
}

#[test]
fn end_within_an_answer_without_length_is_found() {
    found_over_http(ClientKind::OneShot, Fault::TruncateUnsaid, Class::Truncated);
    found_over_http(ClientKind::KeepAlive, Fault::TruncateUnsaid, Class::Truncated);
}

#[test]
fn wrong_bytes_of_every_sort_are_found() {
    for fault in [Fault::Flip, Fault::Other, Fault::Double, Fault::Surplus, Fault::Garbage] {
        found_over_http(ClientKind::OneShot, fault, Class::WrongBytes);
        found_over_http(ClientKind::KeepAlive, fault, Class::WrongBytes);
    }
    for fault in [Fault::Flip, Fault::Double, Fault::Surplus] {
        found_over_tcp(ClientKind::OneShot, fault, Class::WrongBytes);
    }
}

#[test]
fn fault_in_a_page_of_unknown_content_is_found() {
    for (fault, class) in [
        (Fault::Reset, Class::ResetBeforeFirstByte),
        (Fault::Close, Class::ClosedBeforeFirstByte),
        (Fault::ResetMidway, Class::ResetMidway),
        (Fault::Truncate, Class::Truncated),
        (Fault::Surplus, Class::WrongBytes),
        (Fault::Garbage, Class::WrongBytes),
        (Fault::Status, Class::BadStatus),
    ] {
        let server = Server::http(every_tenth(fault));
        let page = Plan { protocol: Protocol::Http(Ask::Page), ..plan(server.address, ClientKind::OneShot, COUNT) };
        found(&server, page, class);
    }
}

#[test]
fn bytes_on_an_idle_connection_are_found() {
    let script = |seen: Seen| (seen.number == 20).then_some(Fault::LateSurplus);
    let server = Server::http(script);
    let mut plan = plan(server.address, ClientKind::KeepAlive, 60);
    plan.rate = 50.0;
    // The next operation on that connection finds these bytes.
    only(&carry_out(plan), Class::WrongBytes, 1);
}

#[test]
fn status_other_than_200_is_found() {
    let server = Server::http(every_tenth(Fault::Status));
    let record = carry_out(plan(server.address, ClientKind::KeepAlive, COUNT));
    only(&record, Class::BadStatus, COUNT / 10);
    same_operations(&record, &server);
    assert_eq!(record.details().get("status 503"), Some(&(COUNT / 10)));
}

#[test]
fn missing_answer_is_a_timeout() {
    for kind in [ClientKind::OneShot, ClientKind::KeepAlive] {
        let server = Server::http(every_tenth(Fault::Hang));
        let mut plan = plan(server.address, kind, COUNT);
        // Not too short, since on a busy machine a good answer may take long.
        plan.timeout = Duration::from_secs(4);
        found(&server, plan, Class::Timeout);
    }
}

/// Plants a fault in every tenth request that was not the first of its connection.
fn every_tenth_kept(fault: Fault) -> impl FnMut(Seen) -> Option<Fault> + Send + 'static {
    let mut kept = 0_u64;
    move |seen| {
        kept += u64::from(!seen.is_first);
        (!seen.is_first && kept.is_multiple_of(10)).then_some(fault)
    }
}

#[test]
fn kept_connection_that_ends_under_a_request_is_stale() {
    for fault in [Fault::Close, Fault::Reset] {
        for kind in [ClientKind::KeepAlive, ClientKind::Stubborn] {
            let server = Server::http(every_tenth_kept(fault));
            let record = carry_out(plan(server.address, kind, COUNT));
            let harmed = server.harmed();
            assert!(harmed.len() > 10, "hardly any connection was kept: {record:?}");
            only(&record, Class::StaleKeepalive, harmed.len() as u64);
            same_operations(&record, &server);
        }
    }
}

/// Makes a plan with nine good targets, and this one.
fn every_tenth_target(good: &Server, bad: Target) -> Plan {
    let mut plan = plan(good.address, ClientKind::OneShot, COUNT);
    plan.targets = vec![plan.targets[0].clone(); 9];
    plan.targets.push(bad);
    plan
}

#[test]
fn refused_connect_is_found() {
    let good = Server::http(|_| None);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    only(&carry_out(every_tenth_target(&good, closed.into())), Class::Refused, COUNT / 10);
}

#[test]
fn other_error_is_found_and_counted() {
    let good = Server::http(|_| None);
    let folder = tempfile::tempdir().unwrap();
    let record = carry_out(every_tenth_target(&good, folder.path().join("none.sock").into()));
    only(&record, Class::Other, COUNT / 10);
    assert_eq!(record.details().values().sum::<u64>(), COUNT / 10);
}

#[test]
fn unanswered_connect_is_a_connect_timeout() {
    let good = Server::http(|_| None);
    let (full, _listener, _queued) = full_backlog();
    let mut plan = every_tenth_target(&good, full.into());
    plan.timeout = Duration::from_secs(4);
    only(&carry_out(plan), Class::ConnectTimeout, COUNT / 10);
}

/// Makes a listener that accepts nothing and has a full backlog, so that the kernel drops further attempts.
fn full_backlog() -> (SocketAddr, tokio::net::TcpListener, Vec<TcpStream>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse().unwrap())?;
        socket.listen(0)
    });
    let listener = listener.unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    for _ in 0..100 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
            Ok(stream) => queued.push(stream),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return (address, listener, queued),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the backlog does not fill");
}

#[test]
fn operations_not_started_are_counted_and_prove_nothing() {
    let server = Server::http(|_| Some(Fault::Hang));
    let mut plan = plan(server.address, ClientKind::OneShot, 50);
    plan.max_open = 10;
    plan.timeout = Duration::from_secs(2);
    let record = carry_out(plan);
    assert_eq!((record.started(), record.not_started(), record.failed(Class::Timeout)), (10, 40, 10));
    let allowance = Allowance::none().allow(Class::Timeout, 10);
    assert_eq!(record.verdict(&allowance), CheckResult::GeneratorLimit(40));
}
