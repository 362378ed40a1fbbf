//! `roundelay report`, and assertions.

use std::io::Write;
use std::process::Command;

use roundelay_harness::record::Report;

use crate::running::{brief, run, run_with};
use crate::whole::whole;
use roundelay_test_kit::binary;

#[test]
fn report_is_shown_and_drawn_again_as_it_was() {
    let Some(whole) = whole() else { return };
    let json = whole.file("out/report.json");
    let Some(ended) = run_with(&[("a.json", json)], &["report", "a.json", "--out", "again"]) else { return };
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, whole.stdout);
    for name in ["html", "json", "md", "csv"] {
        assert!(ended.file(&format!("again/report.{name}")) == whole.file(&format!("out/report.{name}")), "{name}");
    }
}

#[test]
fn report_has_not_changed_from_itself() {
    let Some(whole) = whole() else { return };
    let mut report = whole.report();
    let once = report.repetitions.clone();
    for round in 1..3 {
        let later = once.iter().cloned().map(|mut one| {
            one.number += 2 * round;
            one
        });
        report.repetitions.extend(later);
    }
    let enough = serde_json::to_string(&report).unwrap();
    let files = [("a.json", enough.as_str()), ("b.json", whole.file("out/report.json"))];
    let Some(ended) = run_with(&files, &["report", "a.json", "a.json"]) else { return };
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.starts_with("no change was found\n"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("not judged"), "{}", ended.stdout);
    // Two repetitions are too few for a verdict.
    let Some(ended) = run_with(&files, &["report", "a.json", "b.json"]) else { return };
    assert!(ended.stdout.contains("not judged") && !ended.stdout.contains("no change was found"), "{}", ended.stdout);
}

#[test]
fn file_that_is_no_report_is_refused_with_name_and_reason() {
    let Some(whole) = whole() else { return };
    let other = Report { schema: "roundelay.compare/99".into(), ..whole.report() };
    let other = serde_json::to_string(&other).unwrap();
    let files = [("empty.json", ""), ("else.json", "{\"name\": 1}"), ("other.json", &other)];
    for (name, expected) in [
        ("empty.json", "line 1"),
        ("else.json", "no schema"),
        ("other.json", "roundelay.compare/99"),
        ("no", "No such"),
    ] {
        let Some(ended) = run_with(&files, &["report", name]) else { return };
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{name}: {}", ended.stderr);
        let told = [name, expected, "hint:"].iter().all(|part| ended.stderr.contains(part));
        assert!(told, "{name}: {}", ended.stderr);
    }
}

#[test]
fn assertion_that_does_not_hold_is_exit_code_8_with_both_values() {
    let Some(whole) = whole() else { return };
    let json = whole.file("out/report.json");
    let report = |assertion: &str| run_with(&[("a.json", json)], &["report", "a.json", "--assert", assertion]);
    let Some(ended) = report("kill.round-robin.errors >= 1000000") else { return };
    assert_eq!(ended.code, Some(8), "{}", ended.stderr);
    assert!(ended.stderr.contains("does not hold") && ended.stderr.contains("1,000,000"), "{}", ended.stderr);
    let Some(ended) = report("uniform.direct.p50 <= 1 * uniform.direct.p50") else { return };
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let Some(ended) = report("kill.direct.p50 < 1s") else { return };
    assert_eq!(ended.code, Some(8), "what was not measured does not hold: {}", ended.stderr);
    assert!(ended.stderr.contains("was not measured"), "{}", ended.stderr);
}

#[test]
fn failed_assertion_exits_8_and_the_report_is_written() {
    let flags = ["--ways", "direct", "--scenarios", "uniform"];
    let asserted = ["--assert", "uniform.direct.rps > 1/s", "--assert", "uniform.direct.rps > 999999999/s"];
    let Some(ended) = run(&brief(&[&flags[..], &asserted].concat())) else { return };
    assert_eq!(ended.code, Some(8), "{}", ended.stderr);
    assert!(ended.stderr.contains("does not hold") && ended.stderr.contains("999,999,999/s"), "{}", ended.stderr);
    assert_eq!(ended.report().repetitions.len(), 1);
}

#[test]
fn answer_that_nobody_reads_is_no_failure() {
    let (Some(whole), Some(binary)) = (whole(), binary()) else { return };
    let mut report = tempfile::NamedTempFile::new().unwrap();
    report.write_all(whole.file("out/report.json").as_bytes()).unwrap();
    // Each write to it fails, as to a pipe whose reader has closed.
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = Command::new(binary).arg("report").arg(report.path()).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}
