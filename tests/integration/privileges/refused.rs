//! A user that workers cannot run as is an error before anything is started; no worker runs as the master's user
//! instead.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use roundelay::os::account::Credentials;
use roundelay::os::shim::{self, SpawnSpec};

use crate::kit::{BINARY, Setup, has, is_root};

use super::idle;

#[test]
fn unknown_user_is_refused_with_its_place_in_the_file() {
    let file = "[pool.app]\ncommand = [\"sleep\", \"600\"]\nuser = \"no-such-user-here\"\n";
    for command in [&["run", "-c", "app.toml"][..], &["config", "check", "-c", "app.toml"]] {
        let setup = Setup::new(command).without("ROUNDELAY_LISTEN").without("ROUNDELAY_ADMIN");
        let ended = setup.file("app.toml", file).run_to_end();
        assert_eq!(ended.code, Some(78), "{ended:?}");
        let told = "error: there is no user `no-such-user-here` on this machine\n --> app.toml:3:8\n";
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
    // `config show` accepts a file that is meant for another machine.
    let shown = Setup::new(&["config", "show", "-c", "app.toml"]).file("app.toml", file).run_to_end();
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("user = \"no-such-user-here\""), "{}", shown.stdout);
}

#[test]
fn master_without_the_right_to_change_users_starts_nothing() {
    let setup = idle(&["--set", "pool.app.user=uid:4241", "--set", "pool.app.group=gid:4242"]);
    let (setup, told) = if is_root() {
        if !has("setpriv") {
            return;
        }
        // A root without the right to change users, as containers may have it.
        (setup.through(&["setpriv", "--bounding-set", "-setuid"]), "it lacks one of CAP_SETUID")
    } else {
        (setup, "only root may")
    };
    let ended = setup.run_to_end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("may not run workers as user `uid:4241`"), "{}", ended.stderr);
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
}

#[test]
fn program_does_not_run_if_a_right_cannot_be_given_up() {
    if !is_root() || !has("setpriv") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (lacking, told) in [("-chown", "output 1\n"), ("-setgid", "setgroups 1\n"), ("-setuid", "setresuid 1\n")] {
        let (spawner, theirs) = UnixDatagram::pair().unwrap();
        let spawn_spec = SpawnSpec {
            parent: std::process::id().cast_signed(),
            nofile: None,
            core: None,
            credentials: Some(Credentials { uid: 4241, gid: 4242, groups: vec![4242] }),
            no_new_privs: true,
            start_dir: None,
            cwd: None,
            inherit: vec![],
            has_listeners: false,
            program: "touch".into(),
            args: vec![dir.path().join("ran").into()],
        };
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", lacking, BINARY, shim::COMMAND]).args(spawn_spec.to_args());
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = command.output().unwrap();
        assert_eq!(ended.status.code(), Some(127), "{ended:?}");
        let mut message = [0; 64];
        let length = spawner.recv(&mut message).unwrap();
        assert_eq!(String::from_utf8_lossy(&message[..length]), told);
        assert!(!dir.path().join("ran").exists());
    }
}
