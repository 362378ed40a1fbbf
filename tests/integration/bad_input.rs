//! Impossible settings are refused clearly, with the documented exit code, and leave no process behind.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use roundelay::os::shim::{self, SpawnSpec};

use crate::kit::{BINARY, Ended, Setup, burst, is_alive, shell, wait_until};

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const CONFIG: i32 = 78;

/// Checks that the master ends with this code, prints all of these words on standard error and leaves no process
/// behind.
#[track_caller]
fn says(setup: Setup, code: i32, words: &[&str]) -> Ended {
    let ended = setup.run_to_end();
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "`{word}` in:\n{}", ended.stderr);
    }
    ended
}

#[test]
fn taken_port_names_its_holder_and_starts_no_worker() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let holder = format!("(pid {})", std::process::id());
    let error = format!("error: cannot listen on {address}");
    for [flag, others] in [["--listen", "--admin"], ["--admin", "--listen"]] {
        let flags = [flag, &address, others, "127.0.0.1:0"];
        let words = [error.as_str(), "cause: Address already in use", "held by ", &holder, "hint:", flag];
        let setup = Setup::app(&flags, &shell("touch started; sleep 600"));
        let started = setup.dir().join("started");
        says(setup, FAILED, &words);
        assert!(!started.exists());
    }
}

#[test]
fn port_of_another_master_is_not_shared() {
    let first = Setup::new(&["demo", "-i", "1"]).start_ready();
    let address = first.address().to_string();
    let holder = format!("held by roundelay (pid {})", first.pid());
    says(Setup::app(&["-l", &address], &["sleep", "600"]), FAILED, &["cannot listen on", &holder]);
    assert_eq!(burst(first.address(), "/", 10).failed, [""; 0]);
}

#[test]
fn second_master_on_a_control_socket_is_refused() {
    let first = Setup::new(&["demo", "-i", "1"]).start_ready();
    let error = format!("error: another master holds the control socket {}", first.control.display());
    let words = [error.as_str(), &format!("process {}", first.pid()), "--control"];
    says(Setup::beside(&first, &["run", "--", "sleep", "600"]), FAILED, &words);
    assert_eq!(first.ask("/readyz").status, 200);
}

#[test]
fn program_that_cannot_start_is_named_with_the_reason() {
    let table = [
        ("no-such-program-anywhere", "exec failed: No such file or directory"),
        ("./no-such-file", "exec failed: No such file or directory"),
        ("./plain", "exec failed: Permission denied"),
        ("./folder", "exec failed: Permission denied"),
        (
            "./no-interpreter",
            "exec failed: ./no-interpreter is there, but the interpreter that its first line names is not",
        ),
    ];
    for (program, reason) in table {
        let setup = Setup::app(&["-i", "3"], &[program]).file("plain", "").file("no-interpreter", "#!/no/such/shell\n");
        std::fs::create_dir(setup.dir().join("folder")).unwrap();
        let script = setup.dir().join("no-interpreter");
        std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let cause = format!("cannot start `{program}`: {reason}");
        let ended = says(setup, FAILED, &["error: pool `app`: no worker became ready", &cause, "hint:"]);
        assert!(!ended.stderr.contains("worker died"), "{}", ended.stderr);
    }
    let too_long = format!("[pool.a]\ncommand = [\"true\", \"{}\"]\n", "x".repeat(200_000));
    let setup = Setup::new(&["run", "-c", "long.toml"]).file("long.toml", &too_long);
    says(setup, FAILED, &["pool `a`: no worker became ready", "Argument list too long"]);
    let nowhere = Setup::app(&["-i", "2", "--set", "pool.app.cwd=/no/such/folder"], &["sleep", "600"]);
    says(nowhere, FAILED, &["no worker became ready", "chdir failed: No such file or directory"]);
}

#[test]
fn failed_start_is_notified_in_one_message() {
    // A datagram socket keeps messages apart; a pipe would join them.
    let (spawner, theirs) = UnixDatagram::pair().unwrap();
    let parent = std::process::id().cast_signed();
    for (cwd, program, told) in
        [("", "no-such-program-anywhere", "exec 2\n"), ("/no/such/folder", "sleep", "chdir 2\n")]
    {
        let mut command = Command::new(BINARY);
        let spawn_spec = SpawnSpec {
            parent,
            nofile: None,
            core: None,
            credentials: None,
            no_new_privs: false,
            start_dir: None,
            cwd: Some(cwd.into()),
            inherit: vec![],
            has_listeners: false,
            program: program.into(),
            args: vec![],
        };
        command.arg(shim::COMMAND).args(spawn_spec.to_args()).stderr(Stdio::null());
        let status = command.stdin(OwnedFd::from(theirs.try_clone().unwrap())).status().unwrap();
        assert_eq!(status.code(), Some(127));
        let mut message = [0; 64];
        let length = spawner.recv(&mut message).unwrap();
        assert_eq!(String::from_utf8_lossy(&message[..length]), told);
    }
}

#[test]
fn program_exiting_at_once_is_reported_with_code_and_last_lines() {
    for (code, what) in [("7", "exit code 7"), ("0", "exit code 0"), ("$(kill -SEGV $$)", "killed by signal 11 (SEGV)")]
    {
        let script = format!("echo to the output; echo 'boom: no DATABASE_URL' >&2; exit {code}");
        let words = ["error: pool `app`: no worker became ready", what, "it last wrote:", "boom: no DATABASE_URL"];
        says(Setup::app(&["-i", "2"], &shell(&script)), FAILED, &words);
    }
    // After three exits in every slot the start gives up; it does not go on for the whole ready-timeout.
    let outside = tempfile::tempdir().unwrap();
    let starts = outside.path().join("starts");
    let script = format!("printf x >> '{}'; exit 1", starts.display());
    says(Setup::app(&["-i", "2"], &shell(&script)), FAILED, &["exit code 1"]);
    let starts = std::fs::metadata(&starts).unwrap().len();
    assert!((6..=8).contains(&starts), "{starts} starts of two slots");
}

#[test]
fn wrong_command_line_is_refused_with_a_suggestion() {
    let run = |flags: &[&'static str]| [&["run"], flags, &["--", "sleep", "600"]].concat();
    let workers = "workers must be \"auto\", \"max\", a count from 1 to 1024";
    let table: [(Vec<&str>, &[&str]); 20] = [
        (vec!["run"], &["there is nothing to run", "roundelay run -- node app.js"]),
        (vec!["run", "sleep", "600"], &["'sleep'", "roundelay run -- sleep"]),
        (vec!["frobnicate"], &["frobnicate"]),
        (vec!["lst"], &["'list'"]),
        (run(&["--lisen", ":80"]), &["--lisen", "'--listen'"]),
        (run(&["--strategy", "roundrobin"]), &["roundrobin", "did you mean `round-robin`?"]),
        (run(&["--strategy", "nonsense"]), &["unknown strategy `nonsense`"]),
        (run(&["--mode", "prxy"]), &["unknown mode `prxy`", "`proxy`"]),
        (run(&["--mode", "handof"]), &["unknown mode `handof`"]),
        (run(&["--set", "pool.sleep.workrs=3"]), &["unknown key `workrs`", "did you mean `workers`?"]),
        (run(&["--set", "pool.other.workers=3"]), &["other"]),
        (run(&["--set", "nonsense"]), &["nonsense"]),
        (run(&["--workers", "0"]), &[workers, "(from --workers 0)"]),
        (run(&["--workers", "-0"]), &[workers]),
        (run(&["--workers", "nonsense"]), &[workers]),
        (run(&["--workers", "1.5"]), &[workers]),
        (run(&["--workers", "100000"]), &[workers]),
        (run(&["--listen", "256.0.0.1:80"]), &["`256.0.0.1:80` is not an address"]),
        (run(&["--listen", "127.0.0.1:99999"]), &["is not an address"]),
        (run(&["--admin", "0.0.0.0:9900"]), &["could be reached from other machines"]),
    ];
    for (args, words) in table {
        says(Setup::new(&args), USAGE, words);
    }
}

#[test]
fn wrong_file_is_refused_with_the_place_of_every_mistake() {
    let sound = "[pool.a]\ncommand = [\"sleep\", \"600\"]\n";
    let wrong = format!("{sound}workrs = 2\nstrategy = \"roundrobin\"\nready-timeout = 5\nworkers = 0\n");
    let table: [(&str, &[&str]); 7] = [
        ("", &["the file is empty", "wrong.toml", "[pool.NAME]"]),
        ("# nothing\n", &["pool"]),
        ("[pool.a]\ncommand = [\"sle", &["this is not TOML", "wrong.toml:2:"]),
        ("\u{0}\u{1}binary", &["this is not TOML", "wrong.toml:1:"]),
        ("[pool.a]\nworkers = 2\n", &["command"]),
        (
            &wrong,
            &[
                "wrong.toml:3:1",
                "did you mean `workers`?",
                "wrong.toml:4:12",
                "did you mean `round-robin`?",
                "wrong.toml:5:17",
                "write \"5s\" or \"5ms\"",
                "wrong.toml:6:11",
                "4 errors in wrong.toml",
            ],
        ),
        ("[pool.a]\ncommand = [\"sleep\", \"600\"]\n[pool.a]\n", &["wrong.toml:3:"]),
    ];
    for (text, words) in table {
        for command in [&["run"][..], &["config", "check"]] {
            let args = [command, &["-c", "wrong.toml"]].concat();
            says(Setup::new(&args).without("ROUNDELAY_LISTEN").file("wrong.toml", text), CONFIG, words);
        }
    }
    let missing = Setup::new(&["run", "-c", "nowhere.toml"]);
    says(missing, CONFIG, &["cannot read nowhere.toml: there is no such file"]);
    let folder = Setup::new(&["run", "-c", "folder"]);
    std::fs::create_dir(folder.dir().join("folder")).unwrap();
    says(folder, CONFIG, &["cannot read folder: it is a directory"]);
}

#[test]
fn two_pools_on_one_port_are_refused_before_anything_starts() {
    let pool = |name: &str| format!("[pool.{name}]\ncommand = [\"sleep\", \"600\"]\nlisten = \"127.0.0.1:18080\"\n");
    let text = pool("a") + &pool("b");
    let setup = Setup::new(&["run", "-c", "two.toml"]).without("ROUNDELAY_LISTEN").file("two.toml", &text);
    says(setup, CONFIG, &["pools `a` and `b` both listen on 127.0.0.1:18080", "two.toml:6:"]);
}

#[test]
fn file_that_turns_bad_does_not_touch_the_running_master() {
    let sound = "[pool.a]\ncommand = [\"sleep\", \"600\"]\nready = \"none\"\n[pool.a.health]\nprobe = \"none\"\n";
    let master = Setup::new(&["run", "-c", "a.toml"]).file("a.toml", sound).start_ready();
    let pids = master.pids();
    std::fs::write(master.dir().join("a.toml"), "[pool").unwrap();
    master.signal("HUP");
    master.wait_log("the configuration cannot be loaded, nothing was changed");
    eventually_eq!(master.pids(), pids);
    wait_until("it still to answer", || master.ask("/readyz").status == 200);
    assert!(pids.iter().all(|&pid| is_alive(pid)));
}
