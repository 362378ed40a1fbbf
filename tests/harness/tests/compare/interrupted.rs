//! Ctrl-C: the first one prints the results so far, the second one aborts. Each test also checks that no process is
//! left.

use roundelay_test_kit::wait_until;

use crate::running::{Running, brief};

const CELL: [&str; 4] = ["--ways", "round-robin,p2c", "--scenarios", "uniform"];

#[test]
fn one_interrupt_finishes_the_cell_and_writes_partial_report() {
    let Some(running) = Running::start(&brief(&[&CELL[..], &["--repeat", "50"]].concat())) else { return };
    wait_until("the first repetition", || running.stderr().contains("round-robin  repetition 1/50"));
    running.interrupt();
    wait_until("a word about it", || running.stderr().contains("again to stop at once"));
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    let report = ended.report();
    assert!(report.is_partial && !report.repetitions.is_empty() && report.repetitions.len() < 100);
    for one in &report.repetitions {
        assert!(one.failure.is_none() && one.phases.len() == 2, "a cell is whole or not there: {one:?}");
    }
    for page in [&ended.stdout, ended.file("out/report.html"), ended.file("out/report.md")] {
        assert!(page.contains("was interrupted"), "{page}");
    }
}

#[test]
fn interrupted_twice_it_breaks_off_amid_a_cell() {
    // A cell of two phases of ten minutes each, which the test does not wait for.
    let Some(running) = Running::start(&brief(&[&CELL[..], &["--rate", "50", "--duration", "10m"]].concat())) else {
        return;
    };
    wait_until("a cell", || running.has_rig());
    running.interrupt();
    wait_until("the first to be noticed", || running.stderr().contains("again to stop at once"));
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(!ended.has("out/report.json"), "nothing was measured");
    assert!(ended.stderr.contains("no report is written"), "{}", ended.stderr);
}

#[test]
fn interrupted_before_anything_is_measured_it_says_so() {
    let Some(running) = Running::start(&brief(&CELL)) else { return };
    wait_until("the start", || running.stderr().contains("· about "));
    running.interrupt();
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count() <= 4), ("", true), "{}", ended.stderr);
}
