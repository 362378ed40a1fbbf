//! The program: exit codes, the table and the JSON.

use std::process::{Command, Output};

use roundelay_checker::Token;

use crate::server::{Fault, Server};

fn run(server: &Server, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundelay-checker"));
    command.args(["--target", &server.address.to_string(), "--rate", "500", "--timeout", "30s"]).args(flags);
    command.output().unwrap()
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn exit_code_is_0_1_2_or_3() {
    let good = Server::http(|_| None);
    let passed = run(&good, &["--count", "100", "--kind", "one-shot=3,keep-alive=2"]);
    assert_eq!(passed.status.code(), Some(0), "{}", says(&passed));

    let bad = Server::http(|seen| (seen.number == 3).then_some(Fault::Close));
    for (allow, code) in [("closed_before_first_byte=0", 1), ("closed_before_first_byte=1", 0), ("refused=5", 1)] {
        let output = run(&bad, &["--count", "10", "--allow", allow]);
        assert_eq!(output.status.code(), Some(code), "{}", says(&output));
    }

    for wrong in [&["--kind", "any"][..], &["--rate", "0"], &["--bytes", "5"], &["--allow", "lost=1"], &["--no"]] {
        assert_eq!(run(&good, wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn generator_at_its_limit_exits_with_3_and_reports_it() {
    let hanging = Server::http(|_| Some(Fault::Hang));
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundelay-checker"));
    command.args(["--target", &hanging.address.to_string(), "--rate", "500", "--count", "20", "--max-open", "5"]);
    let output = command.args(["--timeout", "1s", "--allow", "timeout=5"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", says(&output));
    assert!(says(&output).contains("the generator was the limit: 15 operations"), "{}", says(&output));
}

#[test]
fn json_file_has_the_whole_report() {
    let server = Server::http(|seen| (seen.number % 10 == 3).then_some(Fault::Truncate));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let output = run(&server, &["--count", "100", "--seed", "9", "--json", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(says(&output).contains("failed: 10 truncated (0 allowed)"), "{}", says(&output));
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(report["schema"], "roundelay.checker/1");
    assert_eq!((&report["verdict"], &report["plan"]["seed"]), (&"failed".into(), &9.into()));
    assert_eq!((&report["started"], &report["good"]), (&100.into(), &90.into()));
    assert_eq!(report["kinds"]["one-shot"]["classes"]["truncated"], 10);
    assert_eq!(report["latency_seconds"]["count"], 90);
    let failures = report["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 10);
    let number = |failure: &serde_json::Value| Token::parse(failure["token"].as_str()?.as_bytes()).map(Token::number);
    assert!(failures.iter().all(|failure| number(failure).is_some_and(|number| number % 10 == 3)), "{failures:?}");
}
