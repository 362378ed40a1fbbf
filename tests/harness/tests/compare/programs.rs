//! Programs of the user's own: good ones, and bad ones.

use crate::running::{brief, run, run_with};
use roundelay_test_kit::has;

/// Returns a Python server that runs this code for each request; `self.answer(status)` answers it.
fn server(does: &str) -> String {
    format!(
        "import os, time\nfrom http.server import *\nclass H(BaseHTTPRequestHandler):\n  def do_GET(self): {does}\n  \
         def answer(self, status):\n    self.send_response(status); self.send_header('Content-Length', '0'); \
         self.end_headers()\n  def log_message(self, *a): pass\nThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()"
    )
}

#[test]
fn unfit_scenarios_and_ways_are_skipped_and_the_rest_measured() {
    if !has("python3") {
        return;
    }
    let own = "[scenario.page]\nrequests = [{ path = \"/\" }]\n";
    let flags = "--ways round-robin,handoff --scenarios uniform,slow-one,page --scenario-file own.toml -- python3 -m \
                 http.server {port} --bind 127.0.0.1";
    let Some(ended) = run_with(&[("own.toml", own)], &brief(&flags.split_whitespace().collect::<Vec<_>>())) else {
        return;
    };
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report = ended.report();
    let measured: Vec<_> = report
        .repetitions
        .iter()
        .map(|one| (one.scenario.as_str(), one.way.as_str(), one.failure.as_deref()))
        .collect();
    assert_eq!(measured, [("uniform", "round-robin", None), ("page", "round-robin", None)]);
    // The way fails in the first scenario and is then known not to work: it is reported once, for all scenarios.
    let [slow, handoff] = report.skipped.as_slice() else { panic!("{:?}", report.skipped) };
    assert_eq!((slow.way.as_deref(), slow.scenario.as_deref()), (None, Some("slow-one")));
    assert!(slow.why.contains("demo worker") && slow.why.contains("scenario file"), "{}", slow.why);
    assert_eq!((handoff.way.as_deref(), handoff.scenario.as_deref()), (Some("handoff"), None));
    assert!(handoff.why.contains("worker-runtime"), "the master's own reason: {}", handoff.why);
    assert!(report.ways.iter().all(|way| way.name == "round-robin"), "{:?}", report.ways);
}

#[test]
fn scenario_of_a_file_is_played_as_it_says() {
    let own = "[scenario.echo]\nabout = \"what was sent\"\nrequests-per-connection = 3\n\n[[scenario.echo.requests]]\n\
               path = \"/echo\"\nmethod = \"POST\"\nbody = \"0123456789\"\n";
    let flags = ["--ways", "round-robin", "--rate", "200", "--scenario-file", "own.toml"];
    let Some(ended) = run_with(&[("own.toml", own)], &brief(&flags)) else { return };
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report = ended.report();
    let [scenario] = report.scenarios.as_slice() else { panic!("{:?}", report.scenarios) };
    assert_eq!((scenario.name.as_str(), scenario.about.as_str()), ("echo", "what was sent"));
    assert_eq!((scenario.requests_per_connection, scenario.rates.as_slice()), (Some(3), &[200.0][..]));
    let phase = report.repetitions[0].phases.last().unwrap();
    assert!(phase.done > 0 && phase.failed() == 0, "{:?}", phase.errors);
    assert!(phase.bytes > 10 * phase.done, "each answer brings the body back");
}

#[test]
fn program_with_errors_only_fails_and_names_them() {
    if !has("python3") {
        return;
    }
    let program = server("self.answer(500)");
    let words = ["--ways", "direct,round-robin", "--scenarios", "uniform", "--", "python3", "-c", &program];
    let Some(ended) = run(&brief(&words)) else { return };
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing could be measured"), "{}", ended.stderr);
    assert!(ended.stderr.contains("bad_status") && ended.stderr.contains("--path"), "{}", ended.stderr);
    assert!(!ended.has("out/report.json"));
}

#[test]
fn program_that_never_answers_is_a_failure_that_says_so() {
    if !has("python3") {
        return;
    }
    let program = server("time.sleep(600)");
    let words = ["--ways", "direct", "--scenarios", "uniform", "--timeout", "200ms", "--", "python3", "-c", &program];
    let Some(ended) = run(&brief(&words)) else { return };
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("answered nothing"), "{}", ended.stderr);
}

#[test]
fn slow_program_is_calibrated_by_a_longer_measurement() {
    if !has("python3") {
        return;
    }
    let program = server("time.sleep(0.3); self.answer(200)");
    let words = ["--ways", "direct", "--scenarios", "churn", "--", "python3", "-c", &program];
    let Some(ended) = run(&brief(&words)) else { return };
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report = ended.report();
    // Four clients, with at best one answer each in 0.3 s.
    assert!(report.scenarios[0].lowest_saturation.as_ref().is_some_and(|(rate, _)| *rate > 0.0 && *rate < 14.0));
    // At a part of that rate no request may be due within 200 ms; the test only needs that the scenario is run.
    assert_eq!((report.repetitions[0].failure.as_deref(), report.repetitions[0].phases.len()), (None, 2));
}

#[test]
fn exiting_program_is_tried_once_a_way_and_its_output_shown() {
    let script = "echo $PORT >> starts; echo no database here >&2; exit 3";
    let words = ["--ways", "direct,round-robin", "--scenarios", "uniform,churn,keepalive", "--", "sh", "-c", script];
    let Some(ended) = run(&brief(&words)) else { return };
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let skipped: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("skipped: ")).collect();
    let [direct, round_robin] = skipped.as_slice() else { panic!("{}", ended.stderr) };
    assert!(
        direct.starts_with("skipped: direct: ") && round_robin.starts_with("skipped: round-robin: "),
        "{skipped:?}"
    );
    assert!(skipped.iter().all(|line| line.contains("no database here")), "{skipped:?}");
}
