//! Real drills: a target that keeps the promises passes, one that breaks a promise fails, and no process is left.

// A test that cannot go on panics: this is how it fails.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kit; // the product under test, and a drill of it

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kit::{Played, WRAPPED, drill, product, wrapped};
use roundelay_harness::drill::run;
use roundelay_harness::failure::code;
use roundelay_harness::subject::{Product, ProductWay};
use roundelay_test_kit::{Started, is_alive, kill, marked, missing, wait_until};

#[test]
fn product_passes_and_every_promise_is_told() {
    let Some(product) = product() else { return };
    let result = drill(&["--only", "kill,bad-release,reload-storm", "--workers", "2", "--length", "2s"], &product);
    assert_eq!(result.code, code::OK, "{:#}", result.json);
    assert_eq!(result.verdicts("proxy"), ["passed", "passed", "passed"]);
    for outcome in result.outcomes("proxy") {
        assert!(outcome["load"]["good"].as_u64().unwrap() > 300, "{outcome:#}");
        let promises = outcome["promises"].as_array().unwrap();
        assert!(promises.len() >= 2 && promises.iter().all(|promise| promise["is_kept"] == true), "{outcome:#}");
    }
    assert!(result.markdown.contains("| `kill` |"), "{}", result.markdown);
}

#[test]
fn same_seed_chooses_the_same_victims() {
    let Some(product) = product() else { return };
    let victims = |seed| {
        let flags = ["--only", "kill", "--workers", "4", "--length", "1s", "--rate", "50", "--seed", seed];
        let result = drill(&flags, &product);
        let done = result.outcomes("proxy")[0]["done"].as_array().unwrap().clone();
        let name = |line: &serde_json::Value| line.as_str()?.split("to ").nth(1)?.split(' ').next().map(str::to_owned);
        done.iter().take(3).map(|line| name(line).unwrap()).collect::<Vec<_>>()
    };
    let first = victims("7");
    assert!(first.len() == 3 && first.iter().all(|name| name.starts_with("demo/")), "{first:?}");
    assert_eq!(victims("7"), first);
}

#[test]
fn unreplaced_worker_fails_and_product_verdict_stands() {
    let Some(product) = product() else { return };
    let flags = ["--only", "kill,master-kill", "--workers", "2", "--length", "1s", "--against", "direct"];
    let result = drill(&flags, &product);
    assert_eq!(result.code, code::OK, "others do not count: {:#}", result.json);
    assert_eq!(result.verdicts("proxy"), ["passed", "passed"]);
    assert_eq!(result.verdicts("direct"), ["failed", "skipped"]);
    let direct = &result.outcomes("direct")[0];
    let broken = |what: &str| {
        let promises = direct["promises"].as_array().unwrap();
        promises.iter().any(|promise| promise["what"] == what && promise["is_kept"] == false)
    };
    assert!(broken("each killed worker is replaced") && broken("operations lost"), "{direct:#}");
    assert!(direct["load"]["failed"]["refused"].as_u64().unwrap() > 0, "{direct:#}");
}

#[test]
fn product_that_only_says_that_it_reloads_fails() {
    let Some(product) = product() else { return };
    let folder = tempfile::tempdir().unwrap();
    let liar = wrapped(&product, folder.path(), r#"[ "$1" = reload ] && exit 0"#);
    let result = drill(&["--only", "bad-release,reload-storm", "--workers", "2", "--length", "1s"], &liar);
    assert_eq!(result.code, code::FAILED);
    assert_eq!(result.verdicts("proxy"), ["failed", "failed"], "{:#}", result.json);
}

#[test]
fn product_whose_reload_takes_the_workers_away_fails() {
    let Some(product) = product() else { return };
    let folder = tempfile::tempdir().unwrap();
    // The environment names the control socket; this wrapper stops all workers and still reports success.
    let stopper =
        wrapped(&product, folder.path(), &format!(r#"[ "$1" = reload ] && {{ {WRAPPED} stop demo/0; exit 1; }}"#));
    let result = drill(&["--only", "never-ready", "--workers", "2", "--length", "1s"], &stopper);
    assert_eq!(result.code, code::FAILED);
    let seen = result.outcomes("proxy")[0]["promises"][1]["seen"].clone();
    assert_eq!(seen, "1 of 2 are still there", "{:#}", result.json);
}

#[test]
fn program_that_does_not_answer_is_no_drill() {
    let Some(product) = product() else { return };
    let program = product.program.to_str().unwrap();
    let args = kit::args(&["--only", "kill", "--workers", "1", "--path", "/nowhere", "--", program, "demo-worker"]);
    let failure = run(&args, &product).unwrap_err();
    assert!(failure.code == code::FAILED && failure.cause.unwrap().contains("status 404"));
    assert!(failure.hint.unwrap().contains("--path"));
    let wrong = run(&kit::args(&["--way", "teleport"]), &product).unwrap_err();
    assert_eq!((wrong.code, wrong.hint.as_deref()), (code::USAGE, Some("there are proxy, handoff, shared")));
    assert_eq!(run(&kit::args(&["--against", "pm2"]), &product).unwrap_err().code, code::USAGE);
}

#[test]
fn kernel_distribution_keeps_the_same_promises() {
    let Some(product) = product() else { return };
    for way in ["handoff", "shared"] {
        let flags = ["--only", "kill,reload-storm", "--workers", "2", "--length", "1s", "--way", way];
        let result = drill(&flags, &product);
        assert_eq!((result.code, result.verdicts(way)), (code::OK, vec!["passed".into(); 2]), "{:#}", result.json);
    }
}

#[test]
fn full_disk_few_descriptors_and_a_dead_master_are_survived() {
    let Some(product) = product() else { return };
    let flags = ["--only", "full-disk,descriptors,master-kill,slow-worker", "--workers", "2", "--length", "1s"];
    let result = drill(&flags, &product);
    assert_eq!(result.code, code::OK, "{:#}", result.json);
    let verdicts = result.verdicts("proxy");
    if verdicts.iter().any(|verdict| verdict == "skipped") {
        missing("the right to mount a file system");
    }
    assert!(verdicts.iter().all(|verdict| verdict != "failed"), "{verdicts:?}");
}

#[test]
fn master_that_stalls_everybody_fails_though_nobody_is_lost() {
    let Some(product) = product() else { return };
    let folder = tempfile::tempdir().unwrap();
    // The first list is read before the load, the second one under it; after that the master is stopped for seven
    // seconds.
    let line = r#"[ "$1" = run ] && echo $$ > "$0.pid"
if [ "$1" = list ] && [ -e "$0.first" ] && [ ! -e "$0.second" ]; then
  : > "$0.second"; "$PROGRAM" "$@"; code=$?
  master=$(cat "$0.pid"); kill -STOP "$master"; (sleep 7; kill -CONT "$master") > /dev/null 2>&1 &
  exit $code
fi
[ "$1" = list ] && : > "$0.first""#;
    let staller = wrapped(&product, folder.path(), line);
    let result = drill(&["--only", "kill", "--workers", "2", "--length", "1s"], &staller);
    assert_eq!((result.code, result.verdicts("proxy")), (code::FAILED, vec!["failed".into()]), "{:#}", result.json);
    let promises = result.outcomes("proxy")[0]["promises"].as_array().unwrap();
    let silence = promises.iter().find(|promise| promise["what"] == "the longest time without any good answer");
    assert_eq!(silence.unwrap()["is_kept"], false, "{promises:#?}");
}

#[test]
fn product_that_does_not_start_again_loses_no_earlier_outcome() {
    let Some(product) = product() else { return };
    let folder = tempfile::tempdir().unwrap();
    let line = r#"if [ "$1" = run ]; then
  [ -e "$0.once" ] && { echo "error: no more today" >&2; exit 78; }
  : > "$0.once"
fi"#;
    let once = wrapped(&product, folder.path(), line);
    let result = drill(&["--only", "kill,slow-worker,reload-storm", "--workers", "2", "--length", "1s"], &once);
    assert_eq!(result.code, code::FAILED);
    assert_eq!(result.verdicts("proxy"), ["passed", "void", "void"], "{:#}", result.json);
    let why = result.outcomes("proxy")[1]["why"].as_str().unwrap().to_owned();
    assert!(why.contains("no more today") && result.markdown.contains("no more today"), "{why}");
}

#[test]
fn file_that_cannot_be_written_is_told_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere/drill.md");
    let ways = vec![ProductWay { name: "proxy".into(), about: "none".into(), flags: vec![], has_fixed_workers: false }];
    let none = Product { program: folder.path().join("none"), version: "0".into(), ways, demo: vec![] };
    let failure = run(&kit::args(&["--markdown", nowhere.to_str().unwrap()]), &none).unwrap_err();
    assert!(failure.code == code::FAILED && failure.error.contains("nowhere/drill.md"), "{failure}");
}

/// A drill that the tests below run in a process of its own, which they interrupt.
#[test]
#[ignore = "part of another test"]
fn long_drill() {
    let Some(product) = product() else { return };
    let faults = std::env::var("FAULTS").unwrap();
    let Played { code, json, .. } = drill(&["--only", &faults, "--workers", "2", "--length", "3s"], &product);
    let told = std::env::var_os("TELL").unwrap();
    std::fs::write(told, serde_json::json!({ "code": code, "json": json }).to_string()).unwrap();
}

/// Runs these faults in a process of its own, with its temporary folder there, by which its processes can be found.
/// Returns the process, and the file that gets its output.
fn in_a_process(faults: &str, folder: &Path, program: Option<&Path>) -> (Started, PathBuf) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "long_drill", "--ignored", "--nocapture"]);
    command.env("TELL", folder.join("told")).env("FAULTS", faults).env("TMPDIR", folder);
    if let Some(program) = program {
        command.env("ROUNDELAY_BIN", program);
    }
    let said = folder.join("said");
    command.stdout(Stdio::null()).stderr(std::fs::File::create(&said).unwrap());
    (Started(command.spawn().unwrap()), said)
}

fn told(folder: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder.join("told")).unwrap()).unwrap()
}

#[test]
fn interrupted_twice_it_gives_up_an_order_that_does_not_end() {
    let Some(product) = product() else { return };
    let folder = tempfile::tempdir().unwrap();
    let line = r#"[ "$1" = reload ] && { : > "$0.reloading"; exec sleep 1000; }"#;
    let endless = wrapped(&product, folder.path(), line);
    let (mut child, said) = in_a_process("reload-storm", folder.path(), Some(&endless.program));
    wait_until("a reload", || endless.program.with_extension("reloading").exists());
    let ours = || marked(&format!("TMPDIR={}", folder.path().display()));
    let family = ours();
    let pid = i64::from(child.0.id());
    for word in ["interrupted: ending after", "interrupted: ending now"] {
        kill(pid, "INT");
        wait_until("a word about it", || std::fs::read_to_string(&said).unwrap().contains(word));
    }
    wait_until("its end", || child.0.try_wait().unwrap().is_some());
    assert_eq!(told(folder.path())["code"], code::INTERRUPTED);
    wait_until("all it started to be gone", || family.iter().all(|&pid| !is_alive(pid)) && ours().is_empty());
}

#[test]
fn interrupt_ends_after_the_fault_and_a_second_at_once() {
    if product().is_none() {
        return;
    }
    for times in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, said) = in_a_process("slow-worker,kill", folder.path(), None);
        let ours = || marked(&format!("TMPDIR={}", folder.path().display()));
        wait_until("its workers", || ours().len() > 4);
        let family = ours();
        let pid = i64::from(child.0.id());
        kill(pid, "INT");
        // Two that are pending at once are one.
        wait_until("a word about it", || std::fs::read_to_string(&said).unwrap().contains("interrupted: ending"));
        if times == 2 {
            kill(pid, "INT");
        }
        wait_until("its end", || child.0.try_wait().unwrap().is_some());
        let told = told(folder.path());
        assert_eq!(told["code"], code::INTERRUPTED, "{told:#}");
        assert_eq!(told["json"]["is_partial"], true);
        let outcomes = told["json"]["outcomes"].as_array().unwrap().len();
        assert_eq!(outcomes, 2 - times, "the present fault is result to its end, or broken off");
        wait_until("all it started to be gone", || family.iter().all(|&pid| !is_alive(pid)) && ours().is_empty());
    }
}
