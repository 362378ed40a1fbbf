//! The dashboard and the alerts name only metrics that a master exports from its start.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{read, yaml};
use crate::kit::{Setup, get_unix};

/// One query of the dashboard.
pub(super) struct Query {
    pub(super) panel: String,
    pub(super) expr: String,
    /// The labels that its legend shows.
    pub(super) legend: Vec<String>,
}

pub(super) fn dashboard() -> Value {
    serde_json::from_str(&read("docker/grafana/dashboards/roundelay.json")).unwrap()
}

/// Every query of the panels and annotations.
pub(super) fn queries(dashboard: &Value) -> Vec<Query> {
    let query = |panel: &Value, target: &Value, legend: &Value| Query {
        panel: panel.as_str().unwrap().to_owned(),
        expr: target["expr"].as_str().unwrap().to_owned(),
        legend: (legend.as_str().unwrap().split("{{").skip(1))
            .map(|rest| rest.split_once("}}").unwrap().0.to_owned())
            .collect(),
    };
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push(query(&panel["title"], target, &target["legendFormat"]));
        }
    }
    for note in dashboard["annotations"]["list"].as_array().unwrap() {
        queries.push(query(&note["name"], note, &note["titleFormat"]));
    }
    queries
}

/// The expressions of the alerts and recording rules, and the name that a rule records.
fn rules(alerts: &Value) -> Vec<(String, Option<String>)> {
    let groups = alerts["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules.map(|rule| (rule["expr"].as_str().unwrap().to_owned(), rule["record"].as_str().map(str::to_owned))).collect()
}

/// The metrics of an expression. All of ours begin with `roundelay_` and nothing else does, so no parser is needed.
fn metrics(expr: &str) -> BTreeSet<&str> {
    let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let prefixes = ["roundelay_", "roundelay:", "process_"];
    words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix))).collect()
}

#[test]
fn dashboard_and_alerts_name_only_exported_metrics() {
    // No connection was made: the metrics of a graph must exist before the first one.
    let master = Setup::new(&["demo"]).start();
    let text = get_unix(&master.control, "/metrics").unwrap().body;
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let exported: BTreeSet<&str> = series.map(|line| line.split(['{', ' ']).next().unwrap()).collect();

    let dashboard = dashboard();
    let mut exprs: Vec<String> = queries(&dashboard).into_iter().map(|query| query.expr).collect();
    assert!(exprs.len() > 40, "{}", exprs.len());
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        exprs.push(variable["query"]["query"].as_str().unwrap().to_owned());
    }
    let rules = yaml("docker/alerts.yml").map(|alerts| rules(&alerts)).unwrap_or_default();
    let recorded: BTreeSet<&str> = rules.iter().filter_map(|(_, record)| record.as_deref()).collect();
    // `up` is a metric of Prometheus itself, with the job's name from prometheus.yml.
    exprs.extend(rules.iter().map(|(expr, _)| expr.clone()).filter(|expr| expr != "up{job=\"roundelay\"} == 0"));
    for expr in &exprs {
        let metrics = metrics(expr);
        assert!(!metrics.is_empty(), "{expr}");
        for metric in metrics {
            assert!(exported.contains(metric) || recorded.contains(metric), "{metric} is not exported: {expr}");
        }
    }
}

#[test]
fn every_panel_has_its_own_id_and_position() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title} is too wide");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{title} lies over another one");
            }
        }
        let targets = panel["targets"].as_array().map_or(0, Vec::len);
        assert_eq!(panel["type"] == "row", targets == 0, "{title}");
        assert_eq!(panel["type"] == "row", panel["description"].is_null(), "{title} needs a description");
    }
    let names: Vec<&Value> =
        dashboard["templating"]["list"].as_array().unwrap().iter().map(|variable| &variable["name"]).collect();
    assert_eq!(names, ["instance", "pool"]);
    for query in queries(&dashboard) {
        assert!(query.expr.contains("instance=~\"$instance\""), "{}: {}", query.panel, query.expr);
    }
}

#[test]
fn every_state_of_a_worker_has_its_number_and_colour() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let panel = panels.iter().find(|panel| panel["type"] == "state-timeline").unwrap();
    let expr = panel["targets"][0]["expr"].as_str().unwrap();
    let mappings = panel["fieldConfig"]["defaults"]["mappings"][0]["options"].as_object().unwrap();
    let master = Setup::new(&["demo"]).start();
    let text = get_unix(&master.control, "/metrics").unwrap().body;
    let series = text.lines().filter(|line| line.starts_with("roundelay_worker_state{"));
    let states: BTreeSet<&str> =
        series.map(|line| line.split_once("state=\"").unwrap().1.split('"').next().unwrap()).collect();
    assert_eq!(
        mappings.values().map(|value| value["text"].as_str().unwrap()).collect::<BTreeSet<_>>(),
        states,
        "{text}"
    );
    for (number, value) in mappings {
        let term = format!("state=\"{}\"}} * {number}", value["text"].as_str().unwrap());
        assert!(expr.contains(&term), "{term} is not in {expr}");
        assert!(value["color"].is_string());
    }
}

#[test]
fn every_panel_asks_the_data_source_that_is_provisioned() {
    let Some(source) = yaml("docker/grafana/provisioning/datasources/prometheus.yaml") else { return };
    let source = &source["datasources"][0];
    let dashboard = dashboard();
    let lists = [&dashboard["panels"], &dashboard["annotations"]["list"], &dashboard["templating"]["list"]];
    for item in lists.into_iter().flat_map(|list| list.as_array().unwrap()).filter(|item| item["type"] != "row") {
        assert_eq!(item["datasource"]["uid"], source["uid"], "{item}");
        assert_eq!(item["datasource"]["type"], source["type"], "{item}");
    }
}
