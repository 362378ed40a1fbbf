//! `roundelay message`: messages reach the programs, and the messages of programs are bounded.

use std::process::Command;

use roundelay::api::state::{Event, OperationLine};

use crate::kit::{
    BINARY, Ended, Master, Setup, demo_after, has, run_command, run_to_end, running_command, says, shell, wait_for,
    wait_until,
};

/// A Node program that tells what it was told, and says as much as it is told to.
const APP: &str = r#"
require('node:http').createServer((request, response) => response.end('hello')).listen(0);
process.on('message', (message) => {
  console.log(`told ${JSON.stringify(message)}`);
  for (let i = 0; i < (message.say ?? 0); i++) process.send({ i });
});
"#;

fn demo(count: &str) -> Setup {
    Setup::new(&["demo", "--mode", "handoff", "-i", count])
}

/// `roundelay message ARGS`, with a file as its standard input.
fn message_from(master: &Master, stdin: &str, args: &[&str]) -> Ended {
    std::fs::write(master.dir().join("stdin"), stdin).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" message \"$@\" < stdin", BINARY]).args(args).current_dir(master.dir());
    run_to_end(command.env("ROUNDELAY_CONTROL", &master.control))
}

#[track_caller]
fn wait_told(master: &Master, count: usize, line: &str) {
    wait_until(&format!("{count} times `{line}`"), || master.log().matches(line).count() == count);
}

#[test]
fn message_reaches_all_or_one_worker_and_answers_are_logged() {
    let master = demo("3").start_ready();
    let told = run_command(&master, &["message", "demo", r#"{"cmd":"flush-cache"}"#]);
    assert_eq!((told.code, told.stdout.as_str(), told.stderr.as_str()), (Some(0), "told 3 workers\n", ""));
    for slot in 0..3 {
        wait_told(&master, 1, &format!(r#"demo/{slot} | message: {{"cmd":"flush-cache"}}"#));
    }
    wait_until("the echoes in the master's log", || master.log().matches("worker message").count() == 3);
    eventually_eq!(master.log().matches(r#"{\"echo\":{\"cmd\":\"flush-cache\"}}"#).count(), 3, "{}", master.log());
    for direction in ["direction=\"to\"", "direction=\"from\""] {
        eventually_eq!(master.metric("roundelay_worker_messages_total", &[direction]), 3.0);
    }

    assert_eq!(run_command(&master, &["message", "demo/1", "--text", "reload-config"]).code, Some(0));
    assert_eq!(message_from(&master, "[1,\n 2]\n", &["demo/1", "-"]).code, Some(0));
    assert_eq!(run_command(&master, &["message", "demo/0-1", "-5"]).stdout, "told 2 workers\n");
    wait_told(&master, 1, r#"demo/1 | message: "reload-config""#);
    wait_told(&master, 1, "demo/1 | message: [1,2]");
    wait_told(&master, 2, " | message: -5");
    let to = |slot: &str| master.metric("roundelay_worker_messages_total", &[slot, "direction=\"to\""]);
    assert_eq!(["worker=\"0\"", "worker=\"1\"", "worker=\"2\""].map(to), [2.0, 4.0, 1.0]);

    let json = run_command(&master, &["message", "demo/2", "null", "--json"]);
    let line: OperationLine = serde_json::from_str(&json.stdout).unwrap();
    let Event::Message { told: 1, workers } = line.event else { panic!("{json:?}") };
    eventually_eq!((2, master.worker(2).pid, true), (workers[0].slot, workers[0].pid, workers[0].told));
    // A message is no operation.
    eventually!(master.pool().last_report.is_none());
    eventually_eq!(master.metric("roundelay_operations_total", &[]), 0.0);
    // The text of a message does not appear in the log of commands.
    let orders = || -> Vec<_> {
        master.log().lines().filter(|line| line.contains("control command received")).map(str::to_owned).collect()
    };
    eventually_eq!(orders().len(), 5);
    assert!(orders().iter().all(|line| !line.contains("flush")), "{:?}", orders());
}

#[test]
fn node_program_gets_a_message_event_in_modes_with_a_channel() {
    if !has("node") {
        return;
    }
    for mode in ["handoff", "shared"] {
        let setup = Setup::app(&["--mode", mode, "-i", "2"], &["node", "app.js"]).file("app.js", APP);
        let master = setup.start_ready();
        let told = run_command(&master, &["message", "app", r#"{ "cmd": "flush-cache" }"#]);
        assert_eq!((told.code, told.stdout.as_str()), (Some(0), "told 2 workers\n"), "{told:?}");
        for slot in 0..2 {
            wait_told(&master, 1, &format!(r#"app/{slot} | told {{"cmd":"flush-cache"}}"#));
        }
        // Node keeps messages of this form for itself and does not pass them to the application, so they are refused.
        let own = run_command(&master, &["message", "app/0", r#"{"cmd":"NODE_x"}"#]);
        says(&own, 6, &["app/0", "not told: it cannot be a message"]);
    }
}

#[test]
fn endless_messages_do_not_fill_the_log_or_delay_others() {
    if !has("node") {
        return;
    }
    const SAID: u64 = 20_000;
    let setup = Setup::app(&["--mode", "handoff", "-i", "2"], &["node", "app.js"]).file("app.js", APP);
    let master = setup.start_ready();
    assert_eq!(run_command(&master, &["message", "app/0", &format!("{{\"say\":{SAID}}}")]).code, Some(0));
    let from = || master.metric("roundelay_worker_messages_total", &["worker=\"0\"", "direction=\"from\""]);
    wait_until("all of it", || {
        assert_eq!(master.get("/").unwrap().body, "hello");
        from() == SAID as f64
    });
    // Each is in the log, or counted there.
    let log = wait_for("what was left out", || {
        let log = master.log();
        let shown = log.matches("worker message ").count() as u64 + log.matches("worker message\n").count() as u64;
        let counts = log.lines().filter(|line| line.contains("worker messages left out"));
        let counts =
            counts.filter_map(|line| line.split("count=").nth(1)?.split_whitespace().next()?.parse::<u64>().ok());
        (shown + counts.sum::<u64>() == SAID).then_some((shown, log))
    });
    assert!(log.0 < SAID / 10, "{} of {SAID} are in the log", log.0);
}

#[test]
fn message_amid_a_reload_names_workers_that_are_starting() {
    let script = demo_after("until test -e go; do sleep 0.01; done");
    let mut master = Setup::app(&["--mode", "handoff", "-i", "2"], &shell(&script)).start();
    wait_until("both to run", || master.pids().len() == 2);
    let early = run_command(&master, &["message", "app", "1"]);
    says(&early, 6, &["app/0  pid ", "app/1  pid ", "not told: it is starting", "error: no worker of app was told"]);
    assert_eq!(early.stdout, "told 0 of 2 workers\n");
    master.touch("go");
    master.wait_all_ready();

    master.remove("go");
    let reload = running_command(&master, &["reload"]);
    wait_until("one to come", || master.worker(0).others().any(|other| other.pid.is_some()));
    let amid = run_command(&master, &["message", "app", "2"]);
    says(&amid, 1, &["app/0  pid ", "not told: it is starting", "error: not every worker of app was told"]);
    assert_eq!(amid.stdout, "told 2 of 3 workers\n");
    wait_told(&master, 2, " | message: 2");
    master.touch("go");
    assert_eq!(reload.join().unwrap().code, Some(0));

    assert_eq!(run_command(&master, &["stop", "app/1"]).code, Some(0));
    assert_eq!(
        run_command(&master, &["message", "app", "3"]).stdout,
        "told 1 worker\n",
        "who is stopped is not missed"
    );
    says(&run_command(&master, &["message", "app/1", "3"]), 6, &["app/1   not told: it is stopped"]);
    assert_eq!(run_command(&master, &["stop", "app"]).code, Some(0));
    says(
        &run_command(&master, &["message", "app", "3"]),
        6,
        &["all workers of pool app are stopped", "roundelay start app"],
    );
}

#[test]
fn message_that_cannot_be_sent_is_refused_with_the_reason() {
    let master = demo("2").start_ready();
    for (args, code, words) in [
        (["demo", "reload-config"], 2, &["`reload-config` is not JSON", r#"'"reload-config"', or use --text"#][..]),
        (["demo", "{cmd:1}"], 2, &["`{cmd:1}` is not JSON", "single quotes"]),
        (["demo/x", "1"], 2, &["`demo/x` is not a target"]),
        (["dema", "1"], 4, &["no pool named `dema`", "did you mean `demo`?"]),
        (["demo/2", "1"], 4, &["pool demo has no worker 2", "demo/0 to demo/1"]),
        (["demo/1-2", "1"], 4, &["pool demo has no worker 2"]),
    ] {
        says(&run_command(&master, &[&["message"], &args[..]].concat()), code, words);
    }
    let text = |length: usize| "x".repeat(length);
    let long = message_from(&master, &text(64 * 1024 - 1), &["demo", "-", "--text"]);
    says(
        &long,
        6,
        &["demo/0", "demo/1", "it has 65537 bytes, and a message may have 65536", "no worker of demo was told"],
    );
    let longer = message_from(&master, &text(1024 * 1024), &["demo", "-", "--text"]);
    says(&longer, 2, &["standard input is larger than 1 MiB"]);
    says(&message_from(&master, "", &["demo", "-"]), 2, &["standard input is not JSON"]);
    eventually_eq!(master.metric("roundelay_worker_messages_total", &[]), 0.0);
    // The longest that there may be.
    assert_eq!(message_from(&master, &text(64 * 1024 - 2), &["demo", "-", "--text"]).code, Some(0));

    for flags in [&["demo"][..], &["demo", "--mode", "shared"]] {
        let master = Setup::new(flags).start_ready();
        let refused = run_command(&master, &["message", "demo", "1"]);
        says(&refused, 6, &["have no channel", "mode handoff, and in mode shared"]);
        // The master has refused the command.
        master.wait_log("control command refused");
    }
    let mut alone = Command::new(BINARY);
    alone.args(["message", "demo", "1"]).env("ROUNDELAY_CONTROL", master.dir().join("nobody"));
    says(&run_to_end(&mut alone), 3, &["no master is running"]);
}
