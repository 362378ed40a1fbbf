//! One state, one word: `list`, `status`, page, `/readyz`, API and metrics say the same of a pool.

use crate::kit::{Master, Setup, a_node, burst, carried_out, demo_after, get, run_command, shell, wait_until};

/// The word, after every place was seen to say it.
#[track_caller]
fn word(master: &Master) -> String {
    let pool = master.pool();
    let (name, word) = (&pool.name, pool.state.clone());
    let list = run_command(master, &["list"]).stdout;
    let row = list.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    assert_eq!(row.split_whitespace().nth(1), Some(word.as_str()), "{list}");
    let status = run_command(master, &["status"]);
    assert_eq!(status.stdout.split_whitespace().nth(2), Some(word.as_str()), "{status:?}");
    assert_eq!(status.code == Some(0), word == "ready", "{status:?}");
    let page = get(master.admin(), "/").unwrap().body;
    let shown = format!("<span class=\"state {word}\">{word}</span>");
    assert!(page.contains(&format!("<h2>{name} {shown}</h2>")), "{page}");
    assert!(page.contains(&format!("<h1>Roundelay</h1> {shown}")), "{page}");
    eventually_eq!(master.metric("roundelay_pool_state", &[&format!("state=\"{word}\"")]), 1.0);
    eventually_eq!(master.metric("roundelay_pool_state", &[]), 1.0, "one at a time");
    let readyz = master.ask("/readyz");
    match readyz.status {
        200 => assert!(matches!(word.as_str(), "ready" | "degraded"), "{word}"),
        _ => assert!(readyz.body.starts_with(&format!("pool {name}: {word}, ")), "{word}: {}", readyz.body),
    }
    word
}

#[test]
fn pool_has_the_same_word_everywhere() {
    let script = demo_after("while ! test -e boot; do sleep 0.02; done");
    let mut master = Setup::app(&["-i", "2"], &shell(&script)).start();
    assert_eq!(word(&master), "starting");
    master.touch("boot");
    master.wait_all_ready();
    assert_eq!(word(&master), "ready");
    carried_out(&master, &["stop", "app/1"]);
    assert_eq!(word(&master), "ready", "one that was stopped is as it was asked to be");
    carried_out(&master, &["stop", "app"]);
    assert_eq!(word(&master), "stopped");
    carried_out(&master, &["start", "app/0"]);
    assert_eq!(word(&master), "ready");
    master.remove("boot");
    master.kill_worker(0);
    wait_until("it to start again", || master.pool().state == "starting");
    assert_eq!(word(&master), "starting");
    master.touch("boot");
}

#[test]
fn handed_connections_are_shown_as_far_as_known() {
    let Some(node) = a_node() else { return };
    let text = "require('http').createServer((q, r) => r.end('ok')).listen(3000);";
    let setup = Setup::app(&["--mode", "handoff", "-i", "2"], &[&node.program, "app.js"]).file("app.js", text);
    let master = setup.start_ready();
    assert_eq!(burst(master.address(), "/", 4).failed, [""; 0]);
    let shown = "open ones not observed, 4 accepted, 0 rejected";
    eventually!(run_command(&master, &["status"]).stdout.contains(shown));
    eventually!(get(master.admin(), "/").unwrap().body.contains(shown));
    assert_eq!(word(&master), "ready");
}
