//! The folders of workers' sockets: no other user gets there, and a removed folder is made again.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::kit::{Master, Setup, burst, environment, is_root, variable, wait_for};

use super::another_user::{demo, nobody};

/// A path that the slot's worker was told.
#[track_caller]
fn path(master: &Master, slot: usize, name: &str) -> PathBuf {
    PathBuf::from(variable(&environment(master.worker(slot).pid.unwrap()), name))
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn each_user_has_a_folder_of_its_own_in_one_that_it_cannot_list() {
    if !is_root() {
        return;
    }
    let [uid, _] = nobody();
    let master = demo(&["-i", "2", "--endpoint", "unix"]).start_ready();
    let (endpoint, notify) = (path(&master, 0, "PORT"), path(&master, 0, "NOTIFY_SOCKET"));
    let (theirs, ours) = (endpoint.parent().unwrap(), notify.parent().unwrap());
    assert_eq!(theirs.parent(), Some(ours));
    assert_eq!([theirs, ours].map(mode), [0o700, 0o711]);
    assert_eq!([theirs, ours, &notify].map(|path| path.metadata().unwrap().uid().to_string()), [&uid, "0", &uid]);
    assert_eq!(mode(&notify), 0o600);
    // A folder that other users may not enter is not used, whatever the environment says.
    let private = tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap();
    let setup = demo(&["-i", "1", "--endpoint", "unix"]).env("XDG_RUNTIME_DIR", private.path().to_str().unwrap());
    let master = setup.start_ready();
    assert!(!path(&master, 0, "PORT").starts_with(private.path()));
}

/// Removes the folder, and kills the worker that lived in it.
#[track_caller]
fn survives_the_loss_of_its_folder(setup: Setup) {
    let master = setup.start_ready();
    let notify = path(&master, 0, "NOTIFY_SOCKET");
    let lost = notify.parent().unwrap();
    std::fs::remove_dir_all(lost).unwrap();
    let dead = master.kill_worker(0);
    wait_for("a successor", || {
        let worker = master.worker(0);
        worker.pid.filter(|&pid| pid != dead && worker.state == "ready")
    });
    let found = path(&master, 0, "NOTIFY_SOCKET");
    assert!(found.exists() && found.starts_with(lost));
    master.wait_log("was removed by another program and made again");
    assert_eq!(burst(master.address(), "/", 20).failed, [""; 0]);
}

#[test]
fn worker_starts_again_after_the_run_folder_was_removed() {
    for endpoint in ["port", "unix"] {
        survives_the_loss_of_its_folder(Setup::new(&["demo", "-i", "1", "--endpoint", endpoint]));
    }
}

#[test]
fn worker_of_another_user_starts_again_after_removal() {
    if is_root() {
        survives_the_loss_of_its_folder(demo(&["-i", "1", "--endpoint", "unix"]));
    }
}
