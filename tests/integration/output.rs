//! The output of workers is written whole, with a name before each line, and never blocks anything.

use std::process::{Command, Stdio};

use crate::kit::{BINARY, Setup, burst, demo_after, shell, wait_until};

#[test]
fn every_line_bears_the_name_of_its_worker_and_keeps_its_stream() {
    let script = "i=0; while test $i -lt 200; do echo out $i; echo err $i >&2; i=$((i + 1)); done; \
                  printf 'without an end'; exit 3";
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command.args(["run", "-n", "app", "-i", "2", "-l", "127.0.0.1:0", "--admin", "off", "--control", "c", "--"]);
    let ended = crate::kit::run_to_end(command.args(shell(script)).current_dir(dir.path()));
    assert_eq!(ended.code, Some(1));
    for slot in 0..2 {
        for (text, word, other) in [(&ended.stdout, "out", "err"), (&ended.stderr, "err", "out")] {
            let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&format!("app/{slot} | "))).collect();
            let numbered: Vec<_> = lines.iter().filter(|line| line.starts_with(word)).collect();
            // Each of its starts wrote 200 lines, in order.
            assert!(numbered.len() >= 600 && numbered.len() % 200 == 0, "{}", numbered.len());
            for (n, line) in numbered.iter().enumerate() {
                assert_eq!(**line, format!("{word} {}", n % 200));
            }
            assert!(!lines.iter().any(|line| line.starts_with(other)));
        }
        let last = format!("app/{slot} | without an end\n");
        assert!(ended.stdout.contains(&last), "the last line needs no end");
    }
}

#[test]
fn control_characters_of_a_worker_are_escaped() {
    let script = demo_after(
        r"printf 'red \033[31m bell \007 over\rwritten \302\205 tab\tkept \377\n'; printf 'err \033[2J\n' >&2",
    );
    let master = Setup::app(&["-i", "1"], &shell(&script)).start_ready();
    master.wait_log(r"app/0 | red \u{1b}[31m bell \u{7} over\rwritten \u{85} tab");
    master.wait_log(r"app/0 | err \u{1b}[2J");
    let log = master.log();
    assert!(log.contains("tab\tkept \u{fffd}\n"), "{log}");
    assert!(!log.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{log:?}");
}

#[test]
fn endless_line_is_cut_and_loses_no_text() {
    let script = demo_after("head -c 100000 /dev/zero | tr '\\0' x; echo; echo after");
    let master = Setup::app(&["-i", "1"], &shell(&script)).start_ready();
    master.wait_log("app/0 | after");
    let log = master.log();
    let lines: Vec<_> = log.lines().filter_map(|line| line.strip_prefix("app/0 | ")).collect();
    let pieces =
        lines.iter().filter(|line| line.starts_with('x')).map(|line| line.split_once(' ').unwrap_or((line, "")));
    let (texts, marks): (Vec<_>, Vec<_>) = pieces.unzip();
    let lengths: Vec<_> = texts.iter().map(|text| text.len()).collect();
    assert_eq!((lengths.iter().sum::<usize>(), lengths.iter().max()), (100_000, Some(&16_384)), "{lengths:?}");
    assert_eq!(marks, ["[cut]", "[cut]", "[cut]", "[cut]", "[cut]", "[cut]", ""]);
}

#[test]
fn output_flood_blocks_neither_its_worker_nor_others() {
    // 8 MiB in short lines, then a sign that it got through.
    let script = demo_after(
        "if test $ROUNDELAY_WORKER = 0; then yes 'a line of the flood' | head -c 8388608; echo got through; fi",
    );
    let master = Setup::app(&["-i", "2"], &shell(&script)).start();
    master.wait_state(1, "ready");
    assert_eq!(burst(master.address(), "/", 50).failed, [""; 0]);
    master.wait_state(0, "ready");
    let counted = |metric: &str| master.metric(metric, &[r#"worker="0""#, r#"stream="stdout""#]);
    // Each line is written or counted as dropped: 8 MiB / 20 bytes, the cut last one with what follows it, the demo's own.
    let all = 8_388_608_f64 / 20.0;
    wait_until("every line to be accounted for", || {
        counted("roundelay_log_lines_total") + counted("roundelay_log_dropped_total") >= all.floor()
    });
}

#[test]
fn unread_output_blocks_no_worker_and_no_client() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("c");
    let script = demo_after("yes 'a line that nobody reads' | head -c 8388608; touch through.$ROUNDELAY_WORKER");
    let mut command = Command::new(BINARY);
    command.args(["run", "-n", "app", "-i", "2", "-l", "127.0.0.1:0", "--admin", "off", "--control", "c", "--"]);
    // Its standard output is a pipe that is never read.
    let child = command.args(shell(&script)).current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = crate::kit::Started(child.stdin(Stdio::null()).spawn().unwrap());
    wait_until("both to get through", || (0..2).all(|slot| dir.path().join(format!("through.{slot}")).exists()));
    let state = || {
        let answer = crate::kit::get_unix(&control, "/api/v1/state").unwrap();
        serde_json::from_str::<roundelay::api::state::State>(&answer.body).unwrap()
    };
    wait_until("both to be ready", || state().is_ready && state().pools[0].workers_ready == 2);
    let address = state().pools[0].listen[0].parse().unwrap();
    assert_eq!(burst(address, "/", 20).failed, [""; 0]);
    wait_until("lines to be dropped", || {
        let metrics = crate::kit::get_unix(&control, "/metrics").unwrap().body;
        let mut dropped = metrics.lines().filter(|line| line.starts_with("roundelay_log_dropped_total"));
        dropped.any(|line| !line.ends_with(" 0"))
    });
    crate::kit::kill(i64::from(child.0.id()), "TERM");
    let status = crate::kit::wait_for("its end", || child.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn unread_log_blocks_neither_restarts_nor_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("c");
    let script = demo_after("yes 'a complaint that nobody reads' | head -c 1048576 >&2");
    let mut command = Command::new(BINARY);
    command.args(["run", "-n", "app", "-i", "1", "-l", "127.0.0.1:0", "--admin", "off", "--control", "c", "--"]);
    // Its standard error, where its own log goes too, is a pipe that is never read.
    let child = command.args(shell(&script)).current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = crate::kit::Started(child.stdin(Stdio::null()).spawn().unwrap());
    let worker = || {
        let answer = crate::kit::get_unix(&control, "/api/v1/state").ok()?;
        let state: roundelay::api::state::State = serde_json::from_str(&answer.body).unwrap();
        state.pools[0].workers[0].pid.filter(|_| state.is_ready)
    };
    let first = crate::kit::wait_for("a worker", worker);
    crate::kit::kill(i64::from(first), "KILL");
    crate::kit::wait_for("its successor", || worker().filter(|&pid| pid != first));
    crate::kit::kill(i64::from(child.0.id()), "TERM");
    let status = crate::kit::wait_for("its end", || child.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn last_lines_of_workers_are_written_before_the_master_ends() {
    let script = format!("{BINARY} demo-worker & trap 'seq -f \"bye %g\" 1 1000; exit 0' TERM; wait");
    // The signal is meant for the shell, not for the server below it.
    let setup = Setup::app(&["-i", "3"], &shell(&script)).with("app", &["stop-signal-to=leader"]);
    let mut master = setup.start_ready();
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    eventually_eq!(master.log().lines().filter(|line| line.contains("| bye ")).count(), 3000);
}
