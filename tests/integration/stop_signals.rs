//! The pool chooses the signal that ends its workers, and a hanging worker does not delay the master's end.

use crate::kit::{Setup, freeze_workers, send_get, wait_until};

const SIGNALS: [&str; 7] = ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH"];

#[test]
fn worker_gets_the_stop_signal_of_its_pool() {
    let traps: String = SIGNALS.map(|signal| format!("trap 'echo got {signal}; exit 0' {signal}; ")).concat();
    let pool = |signal: &str| {
        let name = signal.to_lowercase();
        // A trap runs when the command before it has ended, which is soon. A `wait` may miss a signal that comes
        // before it.
        format!(
            "[pool.{name}]\ncommand = [\"sh\", \"-c\", \"{traps} echo set; while :; do sleep 0.05; done\"]\nlisten = \"127.0.0.1:0\"\n\
             workers = 1\nready = \"none\"\nstop-signal = \"{signal}\"\nhealth = {{ probe = \"none\" }}\n"
        )
    };
    let file = SIGNALS.map(pool).concat();
    let setup = Setup::new(&["run", "-c", "all.toml"]).without("ROUNDELAY_LISTEN").file("all.toml", &file);
    let mut master = setup.start_ready();
    wait_until("every trap to be set", || master.log().matches("| set\n").count() == SIGNALS.len());
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    let log = master.log();
    for signal in SIGNALS {
        let (name, said) = (signal.to_lowercase(), log.matches(&format!("| got {signal}\n")).count());
        assert!(log.contains(&format!("{name}/0 | got {signal}\n")) && said == 1, "{signal}:\n{log}");
    }
}

#[test]
fn stopped_worker_is_gone_after_drain_and_kill_timeout() {
    let options = ["drain-timeout=500ms", "kill-timeout=500ms"];
    for mode in ["proxy", "shared"] {
        let setup = Setup::new(&["demo", "-i", "2", "--mode", mode]).with("demo", &options);
        let mut master = setup.start_ready();
        let waiting: Vec<_> = (0..4).map(|_| send_get(master.address(), "/slow/100").unwrap()).collect();
        freeze_workers(&master, &[0]);
        master.signal("TERM");
        assert_eq!(master.wait_end().code(), Some(0), "{mode}");
        master.wait_no_family();
        drop(waiting);
    }
}

#[test]
fn hung_worker_being_killed_does_not_delay_a_stop() {
    let options = ["health.interval=250ms", "health.timeout=250ms", "health.hang-timeout=500ms", "drain-timeout=500ms"];
    let mut master = Setup::new(&["demo", "-i", "2", "--health", "/health"])
        .with("demo", &[&options[..], &["kill-timeout=500ms"]].concat())
        .start_ready();
    freeze_workers(&master, &[0, 1]);
    master.wait_state(0, "suspect");
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    master.wait_no_family();
}

#[test]
fn second_signal_ends_stopped_workers_at_once() {
    let options = ["drain-timeout=10m", "kill-timeout=10m", "health.hang-timeout=off"];
    let mut master = Setup::new(&["demo", "-i", "2"]).with("demo", &options).start_ready();
    freeze_workers(&master, &[0, 1]);
    master.signal("TERM");
    wait_until("the drain to begin", || master.state().is_stopping);
    let mut ended = None;
    wait_until("the master's end", || {
        master.signal("TERM");
        ended = master.try_end();
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(143));
    master.wait_no_family();
}
