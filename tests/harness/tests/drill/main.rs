//! The drill, played for real: who keeps the promises passes, who breaks one fails, and nothing stays behind.

// A test that cannot go on panics; that is how it fails.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kit;

use std::process::{Command, Stdio};

use kit::{Played, WRAPPED, drill, is_alive, missing, product, wait_until, wrapped};
use roundelay_harness::drill::run;
use roundelay_harness::failure::code;
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn the_product_passes_and_every_promise_is_told() {
    let Some(product) = product() else { return };
    let played = drill(&["--only", "kill,bad-release,reload-storm", "--workers", "2", "--length", "2s"], &product);
    assert_eq!(played.code, code::OK, "{:#}", played.json);
    assert_eq!(played.verdicts("proxy"), ["passed", "passed", "passed"]);
    for outcome in played.outcomes("proxy") {
        assert!(outcome["load"]["good"].as_u64().unwrap() > 300, "{outcome:#}");
        let promises = outcome["promises"].as_array().unwrap();
        assert!(promises.len() >= 2 && promises.iter().all(|promise| promise["is_kept"] == true), "{outcome:#}");
    }
    assert!(played.markdown.contains("| `kill` |"), "{}", played.markdown);
}

#[test]
fn the_same_seed_chooses_the_same_victims() {
    let Some(product) = product() else { return };
    let victims = |seed| {
        let flags = ["--only", "kill", "--workers", "4", "--length", "1s", "--rate", "50", "--seed", seed];
        let played = drill(&flags, &product);
        let done = played.outcomes("proxy")[0]["done"].as_array().unwrap().clone();
        let name = |line: &serde_json::Value| line.as_str()?.split("to ").nth(1)?.split(' ').next().map(str::to_owned);
        done.iter().take(3).map(|line| name(line).unwrap()).collect::<Vec<_>>()
    };
    let first = victims("7");
    assert!(first.len() == 3 && first.iter().all(|name| name.starts_with("demo/")), "{first:?}");
    assert_eq!(victims("7"), first);
}

#[test]
fn one_that_nobody_replaces_fails_with_what_it_lost_and_the_products_verdict_stands() {
    let Some(product) = product() else { return };
    let flags = ["--only", "kill,master-kill", "--workers", "2", "--length", "1s", "--against", "direct"];
    let played = drill(&flags, &product);
    assert_eq!(played.code, code::OK, "others do not count: {:#}", played.json);
    assert_eq!(played.verdicts("proxy"), ["passed", "passed"]);
    assert_eq!(played.verdicts("direct"), ["failed", "skipped"]);
    let direct = &played.outcomes("direct")[0];
    let broken = |what: &str| {
        let promises = direct["promises"].as_array().unwrap();
        promises.iter().any(|promise| promise["what"] == what && promise["is_kept"] == false)
    };
    assert!(broken("each killed worker is replaced") && broken("operations lost"), "{direct:#}");
    assert!(direct["load"]["failed"]["refused"].as_u64().unwrap() > 0, "{direct:#}");
}

#[test]
fn a_product_that_only_says_that_it_reloads_fails() {
    let Some(product) = product() else { return };
    let folder = tempfile::tempdir().unwrap();
    let liar = wrapped(&product, folder.path(), r#"[ "$1" = reload ] && exit 0"#);
    let played = drill(&["--only", "bad-release,reload-storm", "--workers", "2", "--length", "1s"], &liar);
    assert_eq!(played.code, code::FAILED);
    assert_eq!(played.verdicts("proxy"), ["failed", "failed"], "{:#}", played.json);
}

#[test]
fn a_product_whose_reload_takes_the_workers_away_fails() {
    let Some(product) = product() else { return };
    let folder = tempfile::tempdir().unwrap();
    // The control socket is named by the environment: this stops everybody, and says that all is well.
    let stopper =
        wrapped(&product, folder.path(), &format!(r#"[ "$1" = reload ] && {{ {WRAPPED} stop demo/0; exit 1; }}"#));
    let played = drill(&["--only", "never-ready", "--workers", "2", "--length", "1s"], &stopper);
    assert_eq!(played.code, code::FAILED);
    let seen = played.outcomes("proxy")[0]["promises"][1]["seen"].clone();
    assert_eq!(seen, "1 of 2 are still there", "{:#}", played.json);
}

#[test]
fn a_program_that_does_not_answer_is_no_drill() {
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
fn where_the_kernel_gives_connections_out_the_same_promises_hold() {
    let Some(product) = product() else { return };
    for way in ["handoff", "shared"] {
        let flags = ["--only", "kill,reload-storm", "--workers", "2", "--length", "1s", "--way", way];
        let played = drill(&flags, &product);
        assert_eq!((played.code, played.verdicts(way)), (code::OK, vec!["passed".into(); 2]), "{:#}", played.json);
    }
}

#[test]
fn a_full_disk_few_descriptors_and_a_dead_master_are_survived() {
    let Some(product) = product() else { return };
    let flags = ["--only", "full-disk,descriptors,master-kill,slow-worker", "--workers", "2", "--length", "1s"];
    let played = drill(&flags, &product);
    assert_eq!(played.code, code::OK, "{:#}", played.json);
    let verdicts = played.verdicts("proxy");
    if verdicts.iter().any(|verdict| verdict == "skipped") {
        missing("the right to mount a file system");
    }
    assert!(verdicts.iter().all(|verdict| verdict != "failed"), "{verdicts:?}");
}

/// Played in a process of its own by the test below, which interrupts it.
#[test]
#[ignore = "part of another test"]
fn a_long_drill() {
    let Some(product) = product() else { return };
    let Played { code, json, .. } =
        drill(&["--only", "slow-worker,kill", "--workers", "2", "--length", "3s"], &product);
    let told = std::env::var_os("TELL").unwrap();
    std::fs::write(told, serde_json::json!({ "code": code, "json": json }).to_string()).unwrap();
}

#[test]
fn interrupted_it_ends_after_the_fault_and_twice_at_once_with_nothing_left() {
    if product().is_none() {
        return;
    }
    for times in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let tell = folder.path().join("told");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_long_drill", "--ignored", "--nocapture"]).env("TELL", &tell);
        // Its temporary folders are there: what it starts is known by them.
        let said = folder.path().join("said");
        let stderr = std::fs::File::create(&said).unwrap();
        command.env("TMPDIR", folder.path()).stdout(Stdio::null()).stderr(stderr);
        let mut child = kit::Started(command.spawn().unwrap());
        let ours = || kit::processes_with("TMPDIR", folder.path());
        wait_until("its workers", || ours().len() > 4);
        let family = ours();
        let pid = Pid::from_raw(i32::try_from(child.0.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        // Two that are pending at once are one.
        wait_until("a word about it", || std::fs::read_to_string(&said).unwrap().contains("interrupted: ending"));
        if times == 2 {
            kill_process(pid, Signal::INT).unwrap();
        }
        wait_until("its end", || child.0.try_wait().unwrap().is_some());
        let told: serde_json::Value = serde_json::from_slice(&std::fs::read(&tell).unwrap()).unwrap();
        assert_eq!(told["code"], code::INTERRUPTED, "{told:#}");
        assert_eq!(told["json"]["is_partial"], true);
        let outcomes = told["json"]["outcomes"].as_array().unwrap().len();
        assert_eq!(outcomes, 2 - times, "the present fault is played to its end, or broken off");
        wait_until("all it started to be gone", || family.iter().all(|&pid| !is_alive(pid)) && ours().is_empty());
    }
}
