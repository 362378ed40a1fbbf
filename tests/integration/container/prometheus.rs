//! A real Prometheus reads the files, scrapes a running master and answers every panel.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{graphs, path, read};
use crate::kit::{self, Setup};

#[test]
fn promtool_accepts_the_configuration_and_alert_tests() {
    if !kit::has("promtool") {
        return;
    }
    for (words, file) in [
        (["check", "config"], "docker/prometheus.yml"),
        (["check", "rules"], "docker/alerts.yml"),
        (["test", "rules"], "docker/alerts_test.yml"),
    ] {
        let said = kit::run_to_end(Command::new("promtool").args(words).arg(path(file)));
        assert_eq!(said.code, Some(0), "{words:?} {file}:\n{}{}", said.stdout, said.stderr);
    }
}

#[test]
fn every_alert_is_tested() {
    let stories = read("docker/alerts_test.yml");
    let alerts = read("docker/alerts.yml");
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        // Each alert has one time at which it fires and one at which it does not.
        let told = stories.matches(&format!("alertname: {name}")).count();
        assert!(told >= 2, "{name} is told {told} times");
    }
}

/// A Prometheus of the test's own. It is killed when dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one with the repository's configuration, except for the target and a shorter interval.
    fn scraping(admin: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = read("docker/prometheus.yml").replace("127.0.0.1:9900", &admin.to_string());
        assert!(config.contains(&format!("[\"{admin}\"]")), "{config}");
        let config = config.replace("interval: 5s", "interval: 500ms");
        std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        std::fs::copy(path("docker/alerts.yml"), folder.path().join("alerts.yml")).unwrap();

        // Prometheus has no option to take any free port.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .current_dir(folder.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, address, folder }
    }

    /// The present value of an expression; empty while the expression has no value.
    fn ask(&self, expr: &str) -> Result<Vec<Value>, String> {
        let query: String = expr.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = kit::get(self.address, &format!("/api/v1/query?query={query}")).map_err(|e| e.to_string())?;
        let answer: Value = serde_json::from_str(&answer.body).map_err(|_| answer.body.clone())?;
        answer["data"]["result"].as_array().cloned().ok_or_else(|| answer.to_string())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- prometheus ---\n{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap());
        }
    }
}

#[test]
fn every_panel_answers_on_a_real_prometheus_and_no_alert_fires() {
    if !kit::has("prometheus") {
        return;
    }
    let master = Setup::new(&["demo", "--workers", "2"]).start_ready();
    let prometheus = Prometheus::scraping(master.admin());
    kit::wait_until("three scrapes, with traffic between them", || {
        assert_eq!(master.get("/").unwrap().status, 200);
        let samples = prometheus.ask("count_over_time(up{job=\"roundelay\"}[1h])");
        let samples = samples.ok().and_then(|found| found.first()?["value"][1].as_str()?.parse::<u32>().ok());
        samples.is_some_and(|samples| samples >= 3)
    });

    for query in graphs::queries(&graphs::dashboard()) {
        // Fills in the variables as Grafana does.
        let expr = query.expr.replace("$instance", ".+").replace("$pool", ".+").replace("$__rate_interval", "20s");
        // Annotations are empty until something happens. A rule is evaluated a moment after its scrape.
        let found = kit::wait_for(&format!("{} to show something: {expr}", query.panel), || {
            let found = prometheus.ask(&expr).unwrap_or_else(|error| panic!("{}: {expr}: {error}", query.panel));
            (!found.is_empty() || expr.starts_with("changes(")).then_some(found)
        });
        for series in &found {
            for label in &query.legend {
                let is_there = series["metric"][label].as_str().is_some_and(|value| !value.is_empty());
                assert!(is_there, "{}: no {label} in {series}", query.panel);
            }
        }
    }

    let value = |expr: &str| prometheus.ask(expr).unwrap()[0]["value"][1].as_str().unwrap().to_owned();
    assert_eq!(value("sum(roundelay_pool_workers{state=\"ready\"})"), "2");
    assert_eq!(prometheus.ask("ALERTS{alertstate=\"firing\"}").unwrap(), Vec::<Value>::new());
    let rules = kit::get(prometheus.address, "/api/v1/rules").unwrap().body;
    assert!(rules.contains("PoolNoWorkers") && !rules.contains("\"health\":\"err\""), "{rules}");
}
