//! Programs that read the PROXY protocol see the client's address, and our own health checks do not upset them.
//!
//! They are started as `docs/client-address.md` says.

use std::net::{SocketAddr, TcpStream};

use crate::kit::{Setup, has, request, wait_until};

const PAGE: &str = include_str!("../../docs/client-address.md");

/// The complaints of these programs about a connection that does not begin with a header.
const COMPLAINTS: [&str; 3] =
    ["broken header", "while reading PROXY protocol", "Received something which does not look like"];

/// The script of that name on the page.
fn script(name: &str) -> &'static str {
    let blocks = PAGE.split("```sh\n").skip(1).filter_map(|block| Some(block.split_once("```")?.0));
    blocks.into_iter().find(|block| block.starts_with(&format!("# {name}:"))).expect("a script in the page")
}

fn the_client_is_seen(program: &str, version: &str, health: &str) {
    let name = format!("{program}.sh");
    let args = ["run", "--proxy-protocol", version, "--health", health, "-i", "2", "--", "sh", &name];
    let setup = Setup::new(&args)
        .file(&name, script(&name))
        .env("ROUNDELAY_NAME", "web")
        .env("ROUNDELAY_SET", "pool.web.health.interval=200ms;pool.web.health.timeout=200ms")
        .env("ROUNDELAY_LISTEN", "[::]:0");
    let master = setup.start_ready();
    let port = master.address().port();
    for host in ["127.0.0.1", "::1"] {
        for _ in 0..4 {
            let public = SocketAddr::new(host.parse().unwrap(), port);
            let stream = TcpStream::connect(public).unwrap();
            let client = stream.local_addr().unwrap();
            let answer = request(stream, "/").unwrap();
            let expected = format!("{} {} {} {}", client.ip(), client.port(), public.ip(), public.port());
            assert_eq!((answer.status, answer.body), (200, expected), "{program} {version}");
        }
    }
    let checks = |result: &str| {
        let result = format!("result=\"{result}\"");
        let of_slot = |slot| master.metric("roundelay_health_checks_total", &[&result, slot]);
        [r#"worker="0""#, r#"worker="1""#].map(of_slot)
    };
    // The check that only connects makes one connection while the worker starts, and later only to an idle worker.
    if health != "tcp" {
        wait_until("three good health checks of each", || checks("ok").iter().all(|&n| n >= 3.0));
    }
    eventually_eq!(checks("fail"), [0.0; 2]);
    let log = master.log();
    for complaint in COMPLAINTS {
        assert!(!log.contains(complaint), "{complaint}");
    }
}

#[test]
fn nginx_sees_the_client_and_no_broken_header() {
    if has("nginx") {
        for (version, health) in [("v1", "tcp"), ("v2", "tcp"), ("v1", "/health"), ("v2", "/health")] {
            the_client_is_seen("nginx", version, health);
        }
    }
}

#[test]
fn haproxy_sees_the_client_and_no_broken_header() {
    if has("haproxy") {
        for (version, health) in [("v1", "tcp"), ("v2", "tcp"), ("v1", "/health"), ("v2", "/health")] {
            the_client_is_seen("haproxy", version, health);
        }
    }
}

#[test]
fn demo_worker_gets_no_header_that_it_cannot_read() {
    let ended = Setup::new(&["demo", "--proxy-protocol", "v1"]).run_to_end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("the demo worker does not read the PROXY protocol"), "{ended:?}");
}
