//! A user that workers cannot run as is an error before anything is started; nobody runs as the master instead.

use crate::kit::{Setup, has, is_root};

use super::idle;

#[test]
fn an_unknown_user_is_refused_where_it_was_written() {
    let file = "[pool.app]\ncommand = [\"sleep\", \"600\"]\nuser = \"no-such-user-here\"\n";
    for command in [&["run", "-c", "app.toml"][..], &["config", "check", "-c", "app.toml"]] {
        let setup = Setup::new(command).without("ROUNDELAY_LISTEN").without("ROUNDELAY_ADMIN");
        let ended = setup.file("app.toml", file).run_to_end();
        assert_eq!(ended.code, Some(78), "{ended:?}");
        let told = "error: there is no user `no-such-user-here` on this machine\n  --> app.toml:3:8\n";
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
    // What another machine shall run can be looked at here.
    let shown = Setup::new(&["config", "show", "-c", "app.toml"]).file("app.toml", file).run_to_end();
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("user = \"no-such-user-here\""), "{}", shown.stdout);
}

#[test]
fn a_master_that_may_not_change_to_the_user_says_so_and_starts_nothing() {
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
