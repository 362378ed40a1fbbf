//! The product's ways.

use roundelay_harness::setup::{ProductSetup, RunningSetup, SetupError, Signal, Way, signal, start};
use roundelay_harness::subject::Workload;
use roundelay_test_kit::{at_once_eq, has, is_alive, wait_until};

use crate::setups::{get, pids, product, setup, way, who_answers, words};

fn demo(flags: &[&str]) -> roundelay_harness::setup::Setup {
    setup(Way::Product(way("demo", flags)), Workload::Demo)
}

#[test]
fn each_mode_answers_reloads_scales_and_leaves_nothing_behind() {
    let Some(product) = product() else { return };
    for flags in [&[][..], &["--mode", "handoff", "-s", "least-waiting"], &["--mode", "shared"]] {
        let mut running = start(&product, &demo(flags)).unwrap();
        let before = pids(&*running);
        assert_eq!(before.len(), 2, "{flags:?}");
        assert!(before.contains(&who_answers(running.address())), "{flags:?}");
        let names: Vec<_> = running.workers().unwrap().into_iter().map(|worker| worker.name).collect();
        assert_eq!(names, ["demo/0", "demo/1"]);

        running.reload().unwrap();
        let after = pids(&*running);
        assert_eq!(after.len(), 2, "{flags:?}");
        assert!(after.iter().all(|pid| !before.contains(pid)), "{flags:?}: {before:?}, then {after:?}");
        running.scale(3).unwrap();
        let scaled = pids(&*running);
        assert_eq!(scaled.len(), 3, "{flags:?}");
        assert!(scaled.contains(&who_answers(running.address())), "{flags:?}");

        let balancer = running.balancer();
        assert!(balancer.iter().all(|&pid| is_alive(pid) && !scaled.contains(&pid)), "{balancer:?}");
        assert_eq!(balancer.len(), 2, "the master and its guardian: {balancer:?}");
        drop(running);
        let all: Vec<_> = balancer.into_iter().chain(scaled).collect();
        wait_until("all of them to be gone", || !all.iter().any(|&pid| is_alive(pid)));
    }
}

#[test]
fn workers_that_stand_still_are_ended_with_their_rig() {
    let Some(product) = product() else { return };
    let running = start(&product, &demo(&[])).unwrap();
    let all: Vec<u32> = pids(&*running).into_iter().chain(running.balancer()).collect();
    all.iter().for_each(|&pid| signal(pid, Signal::STOP).unwrap());
    drop(running);
    wait_until("all of them to be gone", || !all.iter().any(|&pid| is_alive(pid)));
}

#[test]
fn workers_have_the_variables_and_options_of_the_setup() {
    let Some(product) = product() else { return };
    let mut setup = demo(&[]);
    setup.worker_env.insert("SAID".into(), "a \"b\"\nc".into());
    setup.options.push("pool.{pool}.kill-timeout=7s".into());
    let running = ProductSetup::start(&product, &setup).unwrap();
    for pid in pids(&running) {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(environment.split('\0').any(|entry| entry == "SAID=a \"b\"\nc"), "{environment}");
    }
    setup.options.push("pool.{pool}.no-such-key=1".into());
    let Err(SetupError::Unable(text)) = start(&product, &setup).map(drop) else { panic!("an unknown key is refused") };
    assert!(text.contains("no-such-key"), "{text}");
}

#[test]
fn program_that_exits_at_once_is_a_failure_with_its_last_line() {
    let Some(product) = product() else { return };
    let setup = setup(Way::Product(way("proxy", &[])), words(&["sh", "-c", "echo no database here; exit 3"]));
    let Err(SetupError::Failed(text)) = start(&product, &setup).map(drop) else { panic!("it cannot run") };
    assert!(text.contains("no database here") && text.contains("exit code 3"), "{text}");
}

#[test]
fn mode_that_does_not_fit_is_skipped_with_the_masters_reason() {
    let Some(product) = product() else { return };
    let program = words(&["sh", "-c", "echo where is my channel; exit 3"]);
    let unfit = setup(Way::Product(way("handoff", &["--mode", "handoff"])), program);
    let Err(SetupError::Unable(text)) = start(&product, &unfit).map(drop) else {
        panic!("it cannot be handed anything")
    };
    assert!(text.contains("where is my channel"), "{text}");
    let refused = demo(&["--mode", "shared", "--endpoint", "unix"]);
    let Err(SetupError::Unable(text)) = start(&product, &refused).map(drop) else { panic!("there is no endpoint") };
    assert!(text.contains("no private endpoint"), "{text}");
}

#[test]
fn workers_that_cannot_be_scaled_say_so() {
    let Some(product) = product() else { return };
    let mut running = start(&product, &demo(&["--mode", "reuseport"])).unwrap();
    let Err(SetupError::Unable(text)) = running.scale(3) else { panic!("reuseport has fixed workers") };
    assert!(text.contains("reuseport"), "{text}");
}

#[test]
fn killed_master_is_followed_by_another_on_the_same_port() {
    let Some(product) = product() else { return };
    let mut running = ProductSetup::start(&product, &demo(&[])).unwrap();
    let (address, first, workers) = (running.address(), running.master_pid(), pids(&running));
    assert!(workers.iter().all(|pid| running.leftovers().contains(pid)));
    running.kill_master();
    assert!(!running.is_running());
    wait_until("the guardian to end the workers", || running.leftovers().is_empty());
    running.restart().unwrap();
    assert!(running.is_running() && running.master_pid() != first);
    assert_eq!(running.address(), address);
    assert!(!workers.contains(&who_answers(address)));
}

#[test]
fn changed_command_is_taken_by_a_reload() {
    let Some(product) = product() else { return };
    if !has("python3") {
        return;
    }
    let serve = |text: &str| {
        let program = format!(
            "import http.server, os\nclass Say(http.server.BaseHTTPRequestHandler):\n  def do_GET(self):\n    \
             self.send_response(200); self.end_headers(); self.wfile.write(b'{text}')\n\
             http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Say).serve_forever()"
        );
        ["python3".to_owned(), "-c".to_owned(), program]
    };
    let way = Way::Product(way("proxy", &[]));
    let mut running = ProductSetup::start(&product, &setup(way, Workload::Command(serve("first").into()))).unwrap();
    at_once_eq!(running.pool(), "app");
    running.write_config(&["sh".into(), "-c".into(), "echo a bad release; exit 4".into()]).unwrap();
    let Err(SetupError::Failed(text)) = running.reload() else { panic!("a release that exits is no success") };
    assert!(text.contains("exit code 1"), "{text}");
    running.write_config(&serve("second")).unwrap();
    running.reload().unwrap();
    assert!(answer_of_http_1_0(&running).ends_with("second"));
}

/// Python's server speaks HTTP/1.0.
fn answer_of_http_1_0(running: &ProductSetup) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(running.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn limit_on_open_files_is_the_masters() {
    let Some(product) = product() else { return };
    let running = ProductSetup::start_with(&product, &demo(&[]), Some(100)).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.master_pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["100", "100"]);
    get(running.address());
    let ended = running.run_command(&["scale", "nobody", "1"]).unwrap();
    assert_eq!(ended.code, Some(4), "no such pool: {ended:?}");
}
