//! A worker gets connections when it is ready. While it is not, the master says what is wrong.

use crate::kit::{Setup, burst, demo_after, has, kill, missing, python, python_worker, shell, wait_for, wait_until};

#[test]
fn worker_is_ready_when_its_port_accepts() {
    let Some(worker) = python_worker() else { return };
    let command = [&worker[..], &["--wait-bind"]].concat();
    let mut master = Setup::app(&["-i", "2"], &command).start();
    let check = wait_for("a probe", || master.worker(0).last_check);
    assert!(!check.is_ok && check.what.contains("Connection refused"), "{check:?}");
    eventually!(master.workers().iter().all(|worker| worker.state == "starting"));
    assert_eq!(master.ask("/readyz").status, 503);
    master.touch("bind");
    master.wait_all_ready();
    assert_eq!(burst(master.address(), "/", 10).failed, [""; 0]);
    assert_eq!(master.ask("/readyz").status, 200);
}

#[test]
fn worker_with_a_health_path_is_ready_when_it_answers_well() {
    let Some(worker) = python_worker() else { return };
    let setup = Setup::app(&["-i", "2", "--health", "/health"], &worker).file("sick.0", "");
    let master = setup.start();
    master.wait_state(1, "ready");
    let check = wait_for("a probe that was answered", || {
        master.worker(0).last_check.filter(|check| check.what.contains("answered 500"))
    });
    assert!(!check.is_ok && check.what.contains("GET /health answered 500"), "{check:?}");
    let answered = burst(master.address(), "/", 10);
    assert_eq!((answered.starting("python/1 "), answered.failed.len()), (10, 0), "{answered:?}");
    eventually_eq!(master.worker(0).state, "starting");
    master.remove("sick.0");
    master.wait_state(0, "ready");
    assert_eq!(burst(master.address(), "/", 10).starting("python/0 "), 5);
}

#[test]
fn notify_makes_a_worker_ready_and_its_status_is_shown() {
    let Some(worker) = python_worker() else { return };
    let command = [&worker[..], &["--notify"]].concat();
    let mut master = Setup::app(&["-i", "2", "--ready", "notify"], &command).start();
    wait_until("its status", || {
        master
            .workers()
            .iter()
            .all(|worker| worker.status_text.as_deref() == Some("warming up") && worker.state == "starting")
    });
    // The worker's port already answers, but readiness was to come from notify.
    let port = master.worker(0).endpoint.unwrap().parse().unwrap();
    assert_eq!(burst(port, "/", 4).failed, [""; 0]);
    eventually_eq!(master.worker(0).state, "starting");
    master.touch("ready");
    master.wait_all_ready();
    eventually!(master.workers().iter().all(|worker| worker.status_text.as_deref() == Some("warm")));
    assert_eq!(burst(master.address(), "/", 10).failed, [""; 0]);
}

#[test]
fn ready_none_takes_a_started_program_for_ready() {
    let mut master = Setup::app(&["-i", "2", "--ready", "none", "--health", "none"], &["sleep", "600"]).start();
    master.wait_all_ready();
    assert_eq!(master.ask("/readyz").status, 200);
}

#[test]
fn missing_ready_ends_the_first_start_with_1_and_a_reason() {
    for ready in ["probe", "notify"] {
        let flags = ["-i", "2", "--ready", ready, "--set", "pool.app.ready-timeout=500ms"];
        let ended = Setup::app(&flags, &shell("echo waiting for the database; sleep 600")).run_to_end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for part in ["error: pool `app`: no worker became ready", "was not ready on 127.0.0.1:", "within 500ms"] {
            assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
        }
    }
}

#[test]
fn worker_that_is_never_ready_is_replaced_and_others_stay() {
    let script = crate::kit::demo_after("test $ROUNDELAY_WORKER = 1 && exec sleep 600");
    let master = Setup::app(&["-i", "2", "--set", "pool.app.ready-timeout=1500ms"], &shell(&script)).start();
    master.wait_state(0, "ready");
    let series = "roundelay_worker_restarts_total";
    wait_until("a replacement", || {
        master.metric(series, &[r#"worker="1""#, r#"reason="never_ready""#]) >= 1.0 && master.worker(1).restarts >= 1
    });
    assert_eq!(burst(master.address(), "/", 10).starting("hello from app/0 "), 10);
    eventually_eq!(master.worker(0).restarts, 0);
}

#[test]
fn program_on_another_port_is_named_with_that_port() {
    let Some(python) = python() else { return };
    let flags = ["-i", "1", "--set", "pool.app.ready-timeout=3s"];
    let ended = Setup::app(&flags, &[python, "-m", "http.server", "0", "--bind", "0.0.0.0"]).run_to_end();
    assert_eq!(ended.code, Some(1));
    let told = ended.stderr.lines().find(|line| line.contains("WARN") && line.contains("your program listens on"));
    let told = told.unwrap_or_else(|| panic!("{}", ended.stderr));
    assert!(told.contains("on 0.0.0.0:") && told.contains(", not on $PORT ("), "{told}");
    let cause = ended.stderr.lines().find(|line| line.starts_with("cause:")).unwrap();
    assert!(cause.contains("your program listens on 0.0.0.0:") && cause.contains("{port}"), "{cause}");
}

#[test]
fn program_on_another_address_is_named_with_that_address() {
    if !has("socat") {
        return;
    }
    let script = "exec socat TCP6-LISTEN:$PORT,bind=[::1],ipv6only,fork SYSTEM:true";
    let flags = ["-i", "1", "--set", "pool.app.ready-timeout=3s"];
    let ended = Setup::app(&flags, &shell(script)).run_to_end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("your program listens on [::1]:"), "{}", ended.stderr);
    assert!(ended.stderr.contains(", not on 127.0.0.1:"), "{}", ended.stderr);
}

#[test]
fn private_port_that_others_can_reach_is_warned_about_once() {
    let Some(python) = python() else { return };
    let command = [python, "-m", "http.server", "{port}", "--bind", "0.0.0.0"];
    let master = Setup::app(&["-i", "2"], &command).start_ready();
    master.wait_log("other machines can reach it past the balancer");
    master.kill_worker(0);
    wait_until("a successor", || master.worker(0).restarts == 1 && master.worker(0).state == "ready");
    assert_eq!(burst(master.address(), "/", 4).failed, [""; 0]);
    eventually_eq!(master.log().matches("other machines can reach it").count(), 1);
}

#[test]
fn endless_notify_messages_delay_neither_restarts_nor_a_stop() {
    let Some(python) = crate::kit::python() else {
        missing("python3");
        return;
    };
    let flood = "import os,socket; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); \
                 s.connect(os.environ['NOTIFY_SOCKET']); d=b'STATUS=a\\n'*400\nwhile True: s.send(d)";
    let script = demo_after(&format!("test $ROUNDELAY_WORKER = 0 && '{python}' -c \"{flood}\" &"));
    let mut master = Setup::app(&["-i", "2"], &shell(&script)).start_ready();
    wait_until("it to be heard", || master.worker(0).status_text.as_deref() == Some("a"));
    let first = master.pids()[1];
    kill(i64::from(first), "KILL");
    wait_until("a successor", || master.worker(1).pid.is_some_and(|pid| pid != first));
    master.wait_all_ready();
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
}
