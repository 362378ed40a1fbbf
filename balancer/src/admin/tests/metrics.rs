//! The metrics against the catalogue, the state and Prometheus' own checker.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::{Command, Stdio};

use super::super::requests::Route;
use super::*;
use crate::api::state::State;
use crate::pool::operation::OperationKind;
use crate::rotation::{Endpoint, Lease, SlotId, Snapshot, Standing, Upstream};
use crate::stats::catalog::{self, Kind};
use crate::stats::{
    AcceptError, AcceptLimit, Check, ConnectError, Fate, OperationResult, Outcome, Rejection, Restart, Stream,
};

/// Returns the series and their values; a histogram counts as its parts.
fn series(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, value)| (name, value.parse().unwrap())).collect()
}

#[test]
fn exported_metrics_are_the_catalogue_from_the_start() {
    let server = Server::start(vec![pool("api")]);
    let text = server.get("/metrics").body;
    let exported: BTreeSet<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let listed: BTreeSet<(&str, &str)> = catalog::ALL.iter().map(|metric| (metric.name, metric.kind.name())).collect();
    assert_eq!(exported, listed);
    for metric in catalog::ALL {
        let first =
            text.lines().find(|line| line.split(['{', ' ']).next().is_some_and(|name| name.starts_with(metric.name)));
        let first = first.unwrap_or_else(|| panic!("no series of {}", metric.name));
        for label in metric.labels {
            assert!(first.contains(&format!("{label}=\"")), "{first} has no {label}");
        }
    }
}

#[test]
fn no_series_appears_or_vanishes_later() {
    let server = Server::start(vec![pool("api")]);
    let before: BTreeSet<String> = series(&server.get("/metrics").body).into_keys().map(str::to_owned).collect();
    let stats = &server.pools[0].slots()[1];
    stats.closes[Outcome::Cut as usize].increment();
    server.pools[0].stats.duration.of_thread(0).record(Duration::from_secs(1));
    for path in ["/", "/nothing", "/readyz", "/api/v1/state"] {
        server.get(path);
    }
    publish(&server.pools[0], |status| {
        status.workers[0].state = SlotState::Failed;
        status.workers[0].pid = None;
        status.generation = 7;
        status.is_stopping = true;
    });
    server.get("/readyz");
    let after: BTreeSet<String> = series(&server.get("/metrics").body).into_keys().map(str::to_owned).collect();
    assert_eq!(before, after);
}

#[test]
fn connections_accepted_by_workers_are_not_observed_not_zero() {
    let mut config = config::PoolConfig::new("shared", config::Program::Demo);
    config.mode = crate::mode::Mode::Shared;
    let server = Server::start(vec![pool("api"), Arc::new(Pool::new(config, 1, 1, Vec::new()))]);
    let text = server.get("/metrics").body;
    let of_shared: Vec<&str> = series(&text).into_keys().filter(|series| series.contains(r#"pool="shared""#)).collect();
    assert!(of_shared.iter().any(|series| series.starts_with("roundelay_worker_up{")), "{of_shared:?}");
    for unseen in ["connection", "roundelay_bytes", "connect_", "retries", "accept_errors"] {
        let seen: Vec<_> = of_shared.iter().filter(|series| series.contains(unseen)).collect();
        assert!(seen.is_empty(), "{seen:?}");
    }
    let state: State = serde_json::from_str(&server.get("/api/v1/state").body).unwrap();
    let shared = &state.pools[1];
    assert_eq!((shared.strategy.as_str(), shared.accepted, shared.rejected), ("kernel", None, None));
    assert_eq!((shared.workers[0].connections, shared.workers[0].active), (None, None));
    assert!(server.get("/").body.contains("not observed: the workers accept by themselves"));
}

#[test]
fn metrics_and_state_agree() {
    let server = Server::start(vec![pool("api")]);
    let pool = &server.pools[0];
    pool.stats.accepted.add(41);
    pool.stats.active.add(3);
    pool.stats.rejected[Rejection::NoWorker as usize].add(2);
    pool.slots()[0].connections.add(40);
    pool.slots()[1].connections.add(5);
    pool.slots()[1].closes[Outcome::Finished as usize].add(4);
    let upstream = Upstream::new(SlotId(0), 1, Endpoint::Unix("/nowhere".into()), Arc::clone(&pool.slots()[0]));
    let upstream = Arc::new(upstream);
    upstream.set_standing(Standing::Up);
    pool.rotation.publish(Snapshot::new(vec![Arc::clone(&upstream)]));
    let _leases = [Lease::take(&upstream).unwrap(), Lease::take(&upstream).unwrap()];

    let state: State = serde_json::from_str(&server.get("/api/v1/state").body).unwrap();
    let text = server.get("/metrics").body;
    let metrics = series(&text);
    let shown = &state.pools[0];
    for (name, value) in [
        (r#"roundelay_connections_accepted_total{pool="api"}"#, shown.accepted.unwrap() as f64),
        (r#"roundelay_connections_active{pool="api"}"#, shown.active.unwrap() as f64),
        (r#"roundelay_connections_rejected_total{pool="api",reason="no_worker"}"#, shown.rejected.unwrap() as f64),
        (r#"roundelay_worker_connections_total{pool="api",worker="0"}"#, shown.workers[0].connections.unwrap() as f64),
        (r#"roundelay_worker_connections_active{pool="api",worker="0"}"#, 2.0),
        (r#"roundelay_worker_connections_active{pool="api",worker="0"}"#, shown.workers[0].active.unwrap() as f64),
        (r#"roundelay_worker_connections_active{pool="api",worker="1"}"#, 1.0),
        (r#"roundelay_worker_connections_active{pool="api",worker="1"}"#, shown.workers[1].active.unwrap() as f64),
        (r#"roundelay_worker_backoff_seconds{pool="api",worker="1"}"#, shown.workers[1].backoff_seconds.unwrap()),
        (r#"roundelay_pool_workers{pool="api",state="ready"}"#, f64::from(shown.workers_ready)),
        (r#"roundelay_pool_workers{pool="api",state="backoff"}"#, 1.0),
        (r#"roundelay_worker_state{pool="api",worker="0",state="ready"}"#, 1.0),
        (r#"roundelay_worker_state{pool="api",worker="0",state="backoff"}"#, 0.0),
        (r#"roundelay_worker_up{pool="api",worker="1"}"#, 0.0),
        (r#"roundelay_worker_last_exit_code{pool="api",worker="1"}"#, -1.0),
        (r#"roundelay_connections_limit{pool="api"}"#, 1000.0),
        (r#"roundelay_pool_ready{pool="api"}"#, 1.0),
        (r#"roundelay_admin_requests_total{route="state",code="200"}"#, 1.0),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name}");
    }
    assert!(metrics[r#"roundelay_worker_resident_memory_bytes{pool="api",worker="0"}"#] > 0.0);
    assert!(metrics["process_open_fds"] > 0.0 && metrics["process_start_time_seconds"] > 1e9);
}

#[test]
fn series_stay_within_their_budget() {
    let large = |name: &str| {
        let config = config::PoolConfig::new(name, Program::Demo);
        Arc::new(Pool::new(config, 64, 2, Vec::new()))
    };
    let server = Server::start(vec![large("api")]);
    let count = series(&server.get("/metrics").body).len();
    assert!(count <= 64 * 64 + 150 + 60, "{count} series of one pool of 64");
}

#[test]
fn labels_and_help_are_escaped() {
    let server = Server::start(vec![pool("a\"b\\c\nd")]);
    let text = server.get("/metrics").body;
    assert!(text.contains(r#"roundelay_pool_generation{pool="a\"b\\c\nd"} 1"#), "{text}");
    assert_eq!(series(&text).len(), text.lines().filter(|line| !line.starts_with('#')).count());
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = spawned else {
        assert!(std::env::var_os("ROUNDELAY_REQUIRE_ALL").is_none_or(|all| all != "1"), "promtool is required");
        println!("skipped: needs promtool");
        return;
    };
    let server = Server::start(vec![pool("api"), pool("jobs")]);
    let text = server.get("/metrics").body;
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

/// `ROUNDELAY_REGENERATE=1 cargo test -p roundelay document_is_the_catalogue` writes the page.
#[test]
fn document_is_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let wanted = document();
    if std::env::var_os("ROUNDELAY_REGENERATE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/metrics.md is not what the catalogue says; with ROUNDELAY_REGENERATE=1 this test writes:\n{wanted}"
    );
}

fn document() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         `GET /metrics` on the admin port (`127.0.0.1:9900` unless configured) or the control socket, in Prometheus' text\n\
         format. This page is written from the catalogue in `balancer/src/stats/catalog.rs` by a test.\n\n\
         Every series exists from the start, with 0. Counters of a worker belong to its slot and do not fall when its process\n\
         is replaced; they start anew with the master. No label holds a pid, an address or a text from traffic.\n\n\
         | metric | type | labels | what it says |\n|---|---|---|---|\n",
    );
    for metric in catalog::ALL {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(page, "| `{}` | {} | {} | {} |", metric.name, metric.kind.name(), labels.join(", "), metric.help)
            .unwrap();
    }

    page += "\n## Values of labels\n\n`pool` is a pool's name, `worker` a slot number from 0.\n\n| metric | label | values |\n|---|---|---|\n";
    for (metric, label, values) in [
        (catalog::POOL_WORKERS, "state", SlotState::ALL.map(SlotState::name).to_vec()),
        (catalog::WORKER_STATE, "state", SlotState::ALL.map(SlotState::name).to_vec()),
        (catalog::OPERATIONS, "verb", OperationKind::ALL.map(OperationKind::name).to_vec()),
        (catalog::OPERATIONS, "result", words(OperationResult::ALL, |word| word.name())),
        (catalog::OPERATION_CONNECTIONS, "outcome", words(Fate::ALL, |word| word.name())),
        (catalog::CONNECTIONS_REJECTED, "reason", words(Rejection::ALL, |word| word.name())),
        (catalog::CONNECTIONS_UNASSIGNED, "reason", words(Outcome::ALL, |word| word.name())),
        (catalog::CONNECTION_CLOSES, "reason", words(Outcome::ALL, |word| word.name())),
        (catalog::ACCEPT_ERRORS, "reason", words(AcceptError::ALL, |word| word.name())),
        (catalog::ACCEPT_LIMITED, "reason", words(AcceptLimit::ALL, |word| word.name())),
        (catalog::ACCEPT_LIMITED_EPISODES, "reason", words(AcceptLimit::ALL, |word| word.name())),
        (catalog::WORKER_CONNECT_ERRORS, "reason", words(ConnectError::ALL, |word| word.name())),
        (catalog::WORKER_RESTARTS, "reason", words(Restart::ALL, |word| word.name())),
        (catalog::HEALTH_CHECKS, "result", words(Check::ALL, |word| word.name())),
        (catalog::BYTES, "direction", vec!["rx", "tx"]),
        (catalog::WORKER_MESSAGES, "direction", vec!["from", "to"]),
        (catalog::LOG_LINES, "stream", words(Stream::ALL, |word| word.name())),
        (catalog::LOG_DROPPED, "stream", words(Stream::ALL, |word| word.name())),
        (catalog::ADMIN_REQUESTS, "route", words(&Route::ALL, |word| word.name())),
    ] {
        let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
        writeln!(page, "| `{}` | `{label}` | {} |", metric.name, values.join(" ")).unwrap();
    }

    page += "\n## Buckets\n\nUpper bounds in seconds; `+Inf` follows.\n\n| metric | bounds |\n|---|---|\n";
    for metric in catalog::ALL {
        if let Kind::Histogram(bounds) = metric.kind {
            let bounds: Vec<String> = bounds.iter().map(ToString::to_string).collect();
            writeln!(page, "| `{}` | {} |", metric.name, bounds.join(" ")).unwrap();
        }
    }
    page
}

fn words<T: Copy>(words: &[T], name: fn(T) -> &'static str) -> Vec<&'static str> {
    words.iter().map(|&word| name(word)).collect()
}
