//! The report as JSON, by the schema `roundelay.checker/1`.
//!
//! Durations are in seconds. Fields may be added within this version. No field is removed or changes its meaning.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::analysis::Allowance;
use crate::client_kinds::ClientKind;
use crate::failure::{Class, Failure};
use crate::latency::Latency;
use crate::plan::{Ask, Plan, Protocol};
use crate::record::Record;

/// The name and version of the schema.
const SCHEMA: &str = "roundelay.checker/1";

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    verdict: &'static str,
    verdict_text: String,
    plan: PlanView,
    elapsed_seconds: f64,
    started: u64,
    good: u64,
    failed: u64,
    open: u64,
    not_started: u64,
    not_started_by_reason: &'a BTreeMap<&'static str, u64>,
    /// All classes, also those that did not occur.
    classes: BTreeMap<&'static str, u64>,
    allowed: BTreeMap<&'static str, u64>,
    details: &'a BTreeMap<String, u64>,
    kinds: BTreeMap<&'static str, KindView>,
    workers: &'a BTreeMap<String, u64>,
    kept_connections: KeptView,
    latency_seconds: LatencyView,
    start_lag_seconds: LatencyView,
    failures: &'a [Failure],
}

#[derive(Serialize)]
struct PlanView {
    targets: Vec<String>,
    protocol: &'static str,
    kinds: String,
    rate: f64,
    timeout_seconds: f64,
    max_open: usize,
    seed: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct KindView {
    started: u64,
    good: u64,
    failed: u64,
    /// Only classes that occurred.
    classes: BTreeMap<&'static str, u64>,
    messages: u64,
    latency_seconds: LatencyView,
}

#[derive(Serialize)]
struct KeptView {
    opened: u64,
    said_close: u64,
    idle_closed: u64,
    idle_reset: u64,
}

#[derive(Serialize)]
struct LatencyView {
    count: u64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// Returns the whole report, in several lines.
pub fn json(plan: &Plan, record: &Record, allowance: &Allowance) -> String {
    let verdict = record.verdict(allowance);
    let kept = record.kept();
    let report = Report {
        schema: SCHEMA,
        verdict: verdict.name(),
        verdict_text: verdict.to_string(),
        plan: plan_view(plan),
        elapsed_seconds: record.elapsed().as_secs_f64(),
        started: record.started(),
        good: record.good(),
        failed: record.failed_total(),
        open: record.open(),
        not_started: record.not_started(),
        not_started_by_reason: record.not_started_by_reason(),
        classes: Class::ALL.map(|class| (class.name(), record.failed(class))).into(),
        allowed: Class::ALL.map(|class| (class.name(), allowance.of(class))).into(),
        details: record.details(),
        kinds: record.kinds().keys().map(|&kind| (kind.name(), kind_view(record, kind))).collect(),
        workers: record.workers(),
        kept_connections: KeptView {
            opened: kept.opened,
            said_close: kept.said_close,
            idle_closed: kept.idle_closed,
            idle_reset: kept.idle_reset,
        },
        latency_seconds: latency_view(&record.latency()),
        start_lag_seconds: latency_view(record.lag()),
        failures: record.failures(),
    };
    // Every map has text as keys, and no value can fail to be written.
    serde_json::to_string_pretty(&report).unwrap_or_default()
}

fn plan_view(plan: &Plan) -> PlanView {
    let protocol = match plan.protocol {
        Protocol::Http(Ask::Echo) => "http/echo",
        Protocol::Http(Ask::Blob) => "http/blob",
        Protocol::Http(Ask::Worker) => "http/worker",
        Protocol::Http(Ask::Page) => "http/page",
        Protocol::Tcp => "tcp",
    };
    PlanView {
        targets: plan.targets.iter().map(ToString::to_string).collect(),
        protocol,
        kinds: plan.kinds.to_string(),
        rate: plan.rate,
        timeout_seconds: plan.timeout.as_secs_f64(),
        max_open: plan.max_open,
        seed: plan.seed,
        bytes: plan.bytes,
    }
}

fn kind_view(record: &Record, kind: ClientKind) -> KindView {
    let found = record.kind(kind).cloned().unwrap_or_default();
    let counts = Class::ALL.map(|class| (class.name(), found.failed(class)));
    KindView {
        started: found.started(),
        good: found.good(),
        failed: found.failed_total(),
        classes: counts.into_iter().filter(|(_, count)| *count > 0).collect(),
        messages: found.messages(),
        latency_seconds: latency_view(found.latency()),
    }
}

fn latency_view(latency: &Latency) -> LatencyView {
    let at = |percent| latency.percentile(percent).as_secs_f64();
    LatencyView {
        count: latency.count(),
        mean: latency.mean().as_secs_f64(),
        p50: at(50.0),
        p90: at(90.0),
        p99: at(99.0),
        p999: at(99.9),
        max: Duration::as_secs_f64(&latency.max()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::record::tests::{failed, good};

    #[test]
    fn json_report_has_all_classes_and_each_failure() {
        let plan = Plan::new(SocketAddr::from(([127, 0, 0, 1], 80)));
        let mut record = good(3);
        failed(&mut record, Class::BadStatus, 1);
        let allowance = Allowance::none().allow(Class::Refused, 2);
        let report: serde_json::Value = serde_json::from_str(&json(&plan, &record, &allowance)).unwrap();
        assert_eq!(report["schema"], SCHEMA);
        assert_eq!(report["verdict"], "failed");
        assert_eq!(report["started"], 4);
        assert_eq!(report["classes"]["bad_status"], 1);
        assert_eq!(report["classes"]["refused"], 0);
        assert_eq!(report["allowed"]["refused"], 2);
        assert_eq!(report["details"]["status 503"], 1);
        assert_eq!(report["kinds"]["one-shot"]["latency_seconds"]["p50"], 0.001);
        assert_eq!(report["kinds"]["keep-alive"]["classes"]["bad_status"], 1);
        assert_eq!(report["workers"]["demo/0"], 3);
        assert_eq!(report["failures"][0]["ended_seconds"], 1.5);
        assert_eq!(report["failures"][0]["class"], "bad_status");
    }
}
