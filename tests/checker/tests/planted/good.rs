//! The checker finds no failures of a good server, and each client behaves as its kind does.

use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use roundelay_checker::{Allowance, Ask, ClientKind, Length, Load, Plan, Protocol};

use crate::server::{Fault, Server};
use crate::{PATIENCE, carry_out, plan, raw};

const COUNT: u64 = 2000;

/// Reduces a plan to two thousand operations of a kind, small enough for a busy machine.
fn small(plan: Plan) -> Plan {
    let mut plan = Plan { rate: 2000.0, upload: 30_000..=100_000, ..plan };
    plan.slow.bytes = 50_000;
    plan.slow.piece = 10_000;
    plan.slow.pause = Duration::from_millis(1);
    plan.session.interval = Duration::from_millis(20);
    plan.session.messages = 3;
    plan
}

#[track_caller]
fn all_good(plan: Plan) {
    let kinds = plan.kinds.to_string();
    let record = carry_out(plan);
    assert_eq!(record.analyse(&Allowance::none()), Ok(()), "{kinds}");
    assert_eq!(record.good(), COUNT, "{kinds}");
    assert_eq!(record.latency().count() > 0, record.good() > 0);
}

#[test]
fn good_http_server_fails_no_kind() {
    for kind in ClientKind::ALL {
        let server = Server::http(|_| None);
        all_good(small(plan(server.address, kind, COUNT)));
    }
}

#[test]
fn good_echo_server_fails_no_kind() {
    for kind in ClientKind::ALL {
        let server = Server::raw(|_| None);
        all_good(small(raw(plan(server.address, kind, COUNT))));
    }
}

#[test]
fn blobs_for_all_kinds_at_once_are_good() {
    let server = Server::http(|_| None);
    let all = ClientKind::ALL.map(ClientKind::name).join(",");
    let plan = Plan { kinds: all.parse().unwrap(), ..small(plan(server.address, ClientKind::OneShot, COUNT)) };
    all_good(Plan { protocol: Protocol::Http(Ask::Blob), bytes: 10_000, ..plan });
}

#[test]
fn answers_are_counted_by_worker() {
    let server = Server::http(|_| None);
    let plan = Plan { protocol: Protocol::Http(Ask::Worker), ..plan(server.address, ClientKind::KeepAlive, 100) };
    let record = carry_out(plan);
    assert_eq!(record.analyse(&Allowance::none()), Ok(()));
    let workers: Vec<_> = record.workers().iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(workers, [("demo/0", 50), ("demo/1", 50)]);
}

#[test]
fn page_with_any_content_is_good() {
    // This fault shows to every request that compares the content, but not to a request for a page.
    let server = Server::http(|_| Some(Fault::Flip));
    for kind in [ClientKind::OneShot, ClientKind::KeepAlive, ClientKind::Stubborn, ClientKind::HalfClose] {
        let plan = Plan { protocol: Protocol::Http(Ask::Page), ..plan(server.address, kind, 200) };
        let record = carry_out(plan);
        assert_eq!(record.analyse(&Allowance::none()), Ok(()), "{kind}");
        assert_eq!(record.good(), 200, "{kind}");
    }
}

#[test]
fn kept_connection_is_used_again() {
    let server = Server::http(|_| None);
    let record = carry_out(Plan { rate: 50.0, ..plan(server.address, ClientKind::KeepAlive, 100) });
    let opened = record.kept().opened;
    assert!((4..50).contains(&opened), "{opened} connections for 100 requests, of which 4 are kept");
}

#[test]
fn connection_that_ends_while_idle_is_no_failure() {
    let server = Server::http(|_| Some(Fault::EndAfter));
    for kind in [ClientKind::KeepAlive, ClientKind::Stubborn] {
        // Each of the four connections is idle for 400 ms: long enough for the end to arrive also on a busy machine.
        let record = carry_out(Plan { rate: 10.0, ..plan(server.address, kind, 12) });
        assert_eq!(record.analyse(&Allowance::none()), Ok(()));
        assert_eq!(record.kept().opened, 12);
        assert!(record.kept().idle_closed >= 8, "{:?}", record.kept());
    }
}

#[test]
fn connection_close_is_ignored_only_by_stubborn_clients() {
    let server = Server::http(|_| Some(Fault::SayClose));
    for (kind, all_anew) in [(ClientKind::KeepAlive, true), (ClientKind::Stubborn, false)] {
        let record = carry_out(Plan { rate: 50.0, ..plan(server.address, kind, 100) });
        assert_eq!(record.analyse(&Allowance::none()), Ok(()));
        let kept = record.kept();
        assert_eq!((kept.said_close, kept.opened == 100), (100, all_anew), "{kind}: {kept:?}");
    }
}

#[test]
fn load_can_be_observed_stopped_and_dropped() {
    let server = Server::http(|_| None);
    let endless = Plan { length: Length::UntilStopped, ..plan(server.address, ClientKind::OneShot, 1) };
    let mut with_sessions = endless.clone();
    with_sessions.kinds = "one-shot=99,websocket=1".parse().unwrap();
    with_sessions.session.messages = 1_000_000;
    let load = Load::start(with_sessions).unwrap();
    while load.so_far().good() < 200 {
        assert!(load.elapsed() < PATIENCE && !load.is_over());
        std::thread::sleep(Duration::from_millis(5));
    }
    let record = load.stop();
    assert_eq!(record.analyse(&Allowance::none()), Ok(()));
    let sessions = record.kind(ClientKind::WebSocket).unwrap();
    assert!(sessions.good() > 0 && sessions.messages() >= sessions.good(), "{sessions:?}");
    // A load that is dropped ends, too.
    drop(Load::start(endless).unwrap());
}

#[test]
fn impossible_plan_does_not_start() {
    let server = Server::http(|_| None);
    let error = Load::start(Plan { rate: 0.0, ..plan(server.address, ClientKind::OneShot, 1) }).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn unix_socket_works_as_a_target() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    for kind in [ClientKind::OneShot, ClientKind::KeepAlive, ClientKind::HalfClose, ClientKind::Upload] {
        // The server's backlog is as small as the standard library makes it.
        let template = raw(plan(SocketAddr::from(([127, 0, 0, 1], 1)), kind, 200));
        let plan = Plan { targets: vec![path.clone().into()], rate: 200.0, upload: 100_000..=200_000, ..template };
        let record = carry_out(plan);
        assert_eq!(record.analyse(&Allowance::none()), Ok(()));
        assert_eq!(record.good(), 200);
    }
}
