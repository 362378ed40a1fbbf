//! A complete comparison of two ways in two scenarios, with two repetitions.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use roundelay_harness::record::Drive;

use crate::running::{Ended, run};

/// Runs it once for all tests, since it takes a while and shows many promises.
pub(crate) fn whole() -> Option<&'static Ended> {
    static WHOLE: OnceLock<Option<Ended>> = OnceLock::new();
    let words = "compare --ways direct,round-robin --scenarios uniform,kill --duration 200ms --repeat 2 --workers 2 \
                 --connections 8 --seed 1 --out out --assert uniform.direct.rps>1/s";
    WHOLE.get_or_init(|| run(&words.split_whitespace().collect::<Vec<_>>())).as_ref()
}

#[test]
fn finished_comparison_succeeds_with_four_files_and_tables() {
    let Some(ended) = whole() else { return };
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let names: Vec<_> = ended.names().collect();
    assert_eq!(names, ["out/report.csv", "out/report.html", "out/report.json", "out/report.md"]);
    for told in ["uniform  (", "kill  (", "WAY", "direct in kill was skipped"] {
        assert!(ended.stdout.contains(told), "{told}:\n{}", ended.stdout);
    }
    for way in ["direct", "round-robin"] {
        assert!(ended.stdout.lines().any(|line| line.starts_with(way)), "{}", ended.stdout);
        assert!(ended.file("out/report.html").contains(way) && ended.file("out/report.md").contains(way));
    }
}

#[test]
fn without_a_terminal_each_finished_cell_is_a_plain_line() {
    let Some(ended) = whole() else { return };
    for stream in [&ended.stdout, &ended.stderr] {
        assert!(!stream.contains(['\x1b', '\r']), "{stream}");
    }
    let cells = [("uniform", "direct"), ("uniform", "round-robin"), ("kill", "round-robin")];
    for (scenario, way) in cells {
        let lines: Vec<_> =
            ended.stderr.lines().filter(|line| line.starts_with(&format!("{scenario}  {way}  "))).collect();
        let [calibration, first, second] = lines.as_slice() else { panic!("{}", ended.stderr) };
        assert!(calibration.contains("saturated at about"), "{calibration}");
        assert!(first.contains("repetition 1/2") && second.contains("repetition 2/2"), "{first} {second}");
    }
    // The heading, nine lines of cells, the skipped parts, the written files, and the assertion.
    assert_eq!(ended.stderr.lines().count(), 1 + 9 + 1 + 1 + 1, "{}", ended.stderr);
    assert!(ended.stderr.lines().all(|line| !line.is_empty()), "{}", ended.stderr);
}

#[test]
fn each_repetition_has_every_way_once_at_the_same_rates() {
    let Some(ended) = whole() else { return };
    let report = ended.report();
    let order: Vec<_> =
        report.repetitions.iter().map(|one| (one.scenario.as_str(), one.number, one.way.as_str())).collect();
    // Within a repetition the order of ways is random.
    let [first, second, third, fourth, kills @ ..] = order.as_slice() else { panic!("{order:?}") };
    for (number, mut pair) in [(0, [first, second]), (1, [third, fourth])] {
        pair.sort_unstable();
        assert_eq!(pair, [&("uniform", number, "direct"), &("uniform", number, "round-robin")]);
    }
    assert_eq!(kills, [("kill", 0, "round-robin"), ("kill", 1, "round-robin")]);
    for one in &report.repetitions {
        assert_eq!(one.failure, None);
        let scenario = report.scenarios.iter().find(|scenario| scenario.name == one.scenario).unwrap();
        let open = scenario.rates.iter().map(|&rate| Drive::Open { rate });
        let closed = scenario.event.is_none().then_some(Drive::Closed);
        let drives: Vec<_> = closed.into_iter().chain(open).collect();
        assert_eq!(
            one.phases.iter().map(|phase| phase.drive).collect::<Vec<_>>(),
            drives,
            "{} {}",
            one.way,
            one.number
        );
        assert!(one.phases.iter().all(|phase| phase.done > 0), "{} in {}", one.way, one.scenario);
    }
}

#[test]
fn workers_are_fresh_in_each_repetition_and_named() {
    let Some(ended) = whole() else { return };
    let report = ended.report();
    let mut killed = BTreeSet::new();
    for one in &report.repetitions {
        let expected: &[&str] = if one.way == "direct" { &["demo/0"] } else { &["demo/0", "demo/1"] };
        for phase in &one.phases {
            assert_eq!(phase.answers.keys().collect::<Vec<_>>(), expected, "{} in {}", one.way, one.scenario);
            assert_eq!(phase.answers.values().sum::<u64>(), phase.done);
        }
        if one.scenario == "kill" {
            let event = one.phases[0].event.as_ref().unwrap();
            let (name, pid) = event.what.strip_prefix("SIGKILL to ").unwrap().split_once(" (pid ").unwrap();
            assert!(expected.contains(&name), "{}", event.what);
            assert!(killed.insert(pid.trim_end_matches(')').parse::<u32>().unwrap()), "{pid} was killed before");
        }
    }
    assert_eq!(killed.len(), 2);
}

#[test]
fn way_that_cannot_play_a_scenario_is_named_with_its_reason() {
    let Some(ended) = whole() else { return };
    let report = ended.report();
    let [skipped] = report.skipped.as_slice() else { panic!("{:?}", report.skipped) };
    assert_eq!((skipped.way.as_deref(), skipped.scenario.as_deref()), (Some("direct"), Some("kill")));
    assert!(skipped.why.contains("one worker"), "{}", skipped.why);
    assert!(ended.stderr.contains("skipped: direct in kill: "), "{}", ended.stderr);
}

#[test]
fn csv_has_a_row_for_each_phase() {
    let Some(ended) = whole() else { return };
    let phases: usize = ended.report().repetitions.iter().map(|one| one.phases.len()).sum();
    let text = ended.file("out/report.csv");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), phases);
    assert!(phases > 0 && rows.iter().all(|row| !row[0].is_empty()));
}

#[test]
fn assertion_that_holds_is_told_and_changes_nothing() {
    let Some(ended) = whole() else { return };
    let told = ended.stderr.lines().last().unwrap();
    assert!(told.contains("uniform.direct.rps > 1/s") && !told.contains("does not"), "{told}");
}
