//! Rules on workers that get sockets on the channel of Node's cluster. Pure.

use super::{Violation, path};
use crate::config::problem::Severity;
use crate::config::{Launch, PassedAs, PoolConfig, Program, Ready, SocketPassing};
use crate::mode::Mode;

pub(super) fn check(pool: &PoolConfig, found: &mut Vec<Violation>) {
    socket_passing(pool, found);
    launcher(pool, found);
    let passed_as = pool.passed_as();
    if passed_as != PassedAs::Node && pool.listen.is_empty() {
        let text = format!(
            "`app` is the address that a Node application asks for, and these workers of mode `{}` ask for none",
            pool.mode.name()
        );
        let label = "write an address such as \"127.0.0.1:8080\", or run `node FILE` in mode `handoff` or `shared`";
        found.push(Violation::error(path(pool, "listen"), text).label(label).also(path(pool, "mode")));
    }
    if matches!(pool.ready, Ready::Listening | Ready::Message) && passed_as != PassedAs::Node {
        let word = if pool.ready == Ready::Listening { "listening" } else { "message" };
        let text = format!("ready = \"{word}\" is sent on Node's channel, which these workers do not have");
        let label = "use \"probe\", \"notify\" or \"none\", or run `node FILE` in mode `handoff` or `shared`";
        found.push(Violation::error(path(pool, "ready"), text).label(label));
    }
    if passed_as == PassedAs::Node && pool.mode == Mode::Shared && pool.listen.len() > 1 {
        let text = format!(
            "in mode `shared` a Node application gets one socket for its listener, and the pool lists {} addresses",
            pool.listen.len()
        );
        let label = "keep one, or use mode = \"handoff\", which accepts on all of them";
        found.push(Violation::error(path(pool, "listen[1]"), text).label(label));
    }
}

fn socket_passing(pool: &PoolConfig, found: &mut Vec<Violation>) {
    if pool.socket_passing != SocketPassing::Node {
        return;
    }
    let violation = |text: String, label: &str| Violation::error(path(pool, "socket-passing"), text).label(label);
    match (pool.mode, &pool.program) {
        (_, Program::Demo) => {
            let text = "the demo worker is no Node application".to_owned();
            found.push(violation(text, "remove it"));
        }
        (Mode::Proxy, _) => {
            let text = "in mode `proxy` nothing is handed over: a Node application listens on $PORT".to_owned();
            let label = "remove it, or use mode = \"handoff\", in which it listens where it wants";
            found.push(violation(text, label).also(path(pool, "mode")));
        }
        (Mode::Reuseport, _) => {
            let text = "Node's channel knows no socket of a worker's own, as mode `reuseport` has".to_owned();
            let label = "use mode = \"handoff\" or \"shared\"";
            found.push(violation(text, label).also(path(pool, "mode")));
        }
        (Mode::Handoff | Mode::Shared, _) => {}
    }
}

/// Checks that no launcher is between the master and Node. Node's channel belongs to the process that the master
/// starts, so a launcher would get the channel.
fn launcher(pool: &PoolConfig, found: &mut Vec<Violation>) {
    let Launch::Between(launcher) = pool.launch() else { return };
    let needs_channel = pool.mode == Mode::Handoff || pool.passed_as() == PassedAs::Node;
    let severity = match (needs_channel, pool.mode, pool.socket_passing) {
        (true, ..) => Severity::Error,
        (false, Mode::Shared, SocketPassing::Auto) => Severity::Warning,
        _ => return,
    };
    let mode = pool.mode.name();
    let message =
        format!("`{launcher}` runs the application as a process of its own, which mode `{mode}` cannot reach");
    let label = "write command = [\"node\", \"FILE\"] with the file that it would run";
    let violation = Violation::error(path(pool, "command"), message).label(label).also(path(pool, "mode"));
    found.push(Violation { severity, ..violation });
}

#[cfg(test)]
mod tests {
    use super::super::tests::{broken_by_itself, pool, with};
    use super::*;
    use crate::config::Probe;

    fn of(mode: Mode, command: &str, change: impl Fn(&mut PoolConfig)) -> Vec<String> {
        let mut pool = pool("a", &["127.0.0.1:80"]);
        pool.program = Program::Command(command.split(' ').map(str::to_owned).collect());
        pool.mode = mode;
        (pool.ready, pool.health.probe) = (Ready::None, Probe::None);
        change(&mut pool);
        broken_by_itself(&with(vec![pool]))
            .into_iter()
            .map(|(path, _)| path.trim_start_matches("pool.a.").to_owned())
            .collect()
    }

    #[test]
    fn node_socket_passing_needs_mode_handoff_or_shared() {
        let node = |pool: &mut PoolConfig| pool.socket_passing = SocketPassing::Node;
        assert_eq!(of(Mode::Handoff, "./start", node), [""; 0]);
        assert_eq!(of(Mode::Shared, "./start", node), [""; 0]);
        assert_eq!(of(Mode::Proxy, "node app.js", node), ["socket-passing"]);
        let reuseport = of(Mode::Reuseport, "node app.js", node);
        assert!(reuseport.contains(&"socket-passing".to_owned()), "{reuseport:?}");
    }

    #[test]
    fn launcher_before_node_is_named_in_a_problem() {
        assert_eq!(of(Mode::Handoff, "npm start", |_| {}), ["command"]);
        assert_eq!(of(Mode::Handoff, "node --watch app.js", |_| {}), ["command"]);
        assert_eq!(of(Mode::Shared, "npm start", |_| {}), ["command"], "a warning");
        assert_eq!(of(Mode::Proxy, "npm start", |_| {}), [""; 0], "it listens on $PORT");
    }

    #[test]
    fn node_ready_signs_are_refused_for_other_workers() {
        for word in [Ready::Listening, Ready::Message] {
            assert_eq!(of(Mode::Handoff, "node app.js", |pool| pool.ready = word), [""; 0]);
            assert_eq!(of(Mode::Handoff, "./mine", |pool| pool.ready = word), ["ready"]);
            assert_eq!(of(Mode::Shared, "./mine", |pool| pool.ready = word), ["ready"]);
        }
    }

    #[test]
    fn shared_node_application_has_one_public_address() {
        let two = |pool: &mut PoolConfig| pool.listen.push("127.0.0.1:81".parse().expect("an address"));
        assert_eq!(of(Mode::Shared, "node app.js", two), ["listen[1]"]);
        assert_eq!(of(Mode::Handoff, "node app.js", two), [""; 0]);
    }
}
