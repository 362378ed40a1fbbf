//! Rules on the path of a connection to a worker: which endpoints, probes and drains each mode allows. Pure.

use super::{Violation, most_workers, path};
use crate::config::problem::Severity;
use crate::config::{Address, Drain, EndpointKind, PassedAs, PoolConfig, Probe, Ready, SocketPassing};
use crate::mode::{Acceptor, Inherits, Mode};

pub(super) fn check(pool: &PoolConfig, found: &mut Vec<Violation>) {
    match pool.mode {
        Mode::Proxy => endpoint(pool, found),
        Mode::Handoff | Mode::Shared | Mode::Reuseport => no_endpoint(pool, found),
    }
    if pool.mode == Mode::Handoff {
        handoff(pool, found);
    }
    limits(pool, found);
    let most = most_workers(pool);
    if pool.min_ready > most {
        let message = format!("min-ready ({}) is more than the pool's workers ({most} at most)", pool.min_ready);
        found.push(Violation::error(path(pool, "min-ready"), message).also(path(pool, "workers")));
    }
}

/// Checks a pool whose workers the master connects to.
fn endpoint(pool: &PoolConfig, found: &mut Vec<Violation>) {
    if pool.health.probe == Probe::Channel {
        let text = "in mode `proxy` a worker has no channel on which it could be asked".to_owned();
        let violation = Violation::error(path(pool, "health.probe"), text).label("use \"tcp\", or a path");
        found.push(violation.also(path(pool, "mode")));
    }
}

/// Checks a pool whose workers have no private endpoint: there is nothing to probe, and no kind of endpoint to choose.
fn no_endpoint(pool: &PoolConfig, found: &mut Vec<Violation>) {
    let mode = pool.mode.name();
    let why = match pool.mode.acceptor() {
        Acceptor::Master => "the workers are handed their connections",
        Acceptor::Workers => "the workers accept by themselves",
    };
    let message = |what: &str| format!("in mode `{mode}` {why}, and {what}");
    if pool.ready == Ready::Probe {
        let text = message("there is no private endpoint to probe");
        let label = match pool.passed_as() {
            PassedAs::Node => "write \"listening\", \"message\" or \"none\"",
            PassedAs::Channel => "write \"notify\", which a worker made with worker-runtime says",
            _ => "write \"notify\" if the program says READY=1, else \"none\"",
        };
        found.push(Violation::error(path(pool, "ready"), text).label(label).also(path(pool, "mode")));
    }
    if matches!(pool.health.probe, Probe::Tcp | Probe::ListenTable | Probe::Http { .. }) {
        let text = message(match pool.mode.acceptor() {
            Acceptor::Master => "there is no private endpoint to probe",
            Acceptor::Workers => "a probe could not tell which of them answers",
        });
        found.push(Violation::error(path(pool, "health.probe"), text).label("remove it").also(path(pool, "mode")));
    }
    if pool.health.probe == Probe::Channel && !pool.passed_as().has_channel() {
        let text = message("there is no channel on which they could be asked");
        found.push(Violation::error(path(pool, "health.probe"), text).label("remove it").also(path(pool, "mode")));
    }
    if pool.endpoint != EndpointKind::Port {
        let text = message("there is no private endpoint");
        found.push(Violation::error(path(pool, "endpoint"), text).label("remove it").also(path(pool, "mode")));
    }
    if pool.mode.inherits() == Inherits::SlotListener {
        for (i, address) in pool.listen.iter().enumerate() {
            let (why, label) = match address {
                Address::Tcp(_) => continue,
                Address::Unix(_) => ("there can be only one", "use mode `shared`, or a TCP address"),
                Address::Passed(_) => ("one that is passed is one for all", "use mode `shared`, which serves from it"),
            };
            let text = format!(
                "in mode `{mode}` each worker has a listener of its own on the public address, and {why} at {address}"
            );
            let violation = Violation::error(path(pool, &format!("listen[{i}]")), text);
            found.push(violation.label(label).also(path(pool, "mode")));
        }
    }
}

/// Checks a pool in mode `handoff`: the master has no connections that it could close or wait for.
fn handoff(pool: &PoolConfig, found: &mut Vec<Violation>) {
    if pool.socket_passing == SocketPassing::ListenFds {
        let text = "in mode `handoff` a worker is handed accepted sockets, not listeners".to_owned();
        let label = "remove it for a worker made with worker-runtime, write \"node\", or use mode = \"shared\"";
        let violation = Violation::error(path(pool, "socket-passing"), text).label(label);
        found.push(violation.also(path(pool, "mode")));
    }
    let way = match (pool.drain, pool.passed_as().tells_ends()) {
        (Drain::Idle, _) => "`idle` closes",
        (Drain::Wait, false) => "`wait` waits for",
        _ => return,
    };
    let text = format!("in mode `handoff` the worker has the connections, so the master sees none that drain {way}");
    let label = "remove it: the worker is told, and finishes what it has";
    found.push(Violation::error(path(pool, "drain"), text).label(label).also(path(pool, "mode")));
}

/// Checks bounds on connections. They work only where the master knows the number of connections.
fn limits(pool: &PoolConfig, found: &mut Vec<Violation>) {
    let mode = pool.mode.name();
    let keys =
        [("max-connections", pool.max_connections), ("max-connections-per-source", pool.max_connections_per_source)];
    for (key, _) in keys.into_iter().filter(|(_, most)| most.is_some()) {
        let (severity, text, label) = match (pool.mode.acceptor(), pool.passed_as().tells_ends(), key) {
            (Acceptor::Workers, ..) => (
                Severity::Error,
                format!("in mode `{mode}` the workers accept by themselves, and the master counts no connections"),
                "remove it and bound them in the program, or use mode = \"proxy\"",
            ),
            (Acceptor::Master, true, _) => continue,
            (Acceptor::Master, false, "max-connections") => (
                Severity::Warning,
                format!(
                    "in mode `{mode}` Node does not tell when a connection ends, so this bounds only those that it has not \
                     taken"
                ),
                "set server.maxConnections in the application, or use mode = \"proxy\"",
            ),
            (Acceptor::Master, false, _) => (
                Severity::Error,
                format!(
                    "in mode `{mode}` Node does not tell when a connection ends, so the master does not know how many a \
                     source has"
                ),
                "remove it, or use mode = \"proxy\"",
            ),
        };
        let violation = Violation::error(path(pool, key), text).label(label).also(path(pool, "mode"));
        found.push(Violation { severity, ..violation });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{broken_by_itself, pool, with};
    use super::*;
    use crate::config::Program;

    /// Returns the rules that a pool of that command breaks in mode `handoff`, with the defaults that loading sets.
    fn in_handoff(command: &str, change: impl Fn(&mut PoolConfig)) -> Vec<(String, String)> {
        let mut pool = pool("a", &["127.0.0.1:80"]);
        pool.program = Program::Command(command.split(' ').map(str::to_owned).collect());
        pool.mode = Mode::Handoff;
        pool.health.probe = Probe::Channel;
        pool.ready = if pool.passed_as() == PassedAs::Node { Ready::Listening } else { Ready::Notify };
        change(&mut pool);
        broken_by_itself(&with(vec![pool]))
    }

    fn keys(broken: Vec<(String, String)>) -> Vec<String> {
        broken.into_iter().map(|(path, _)| path.trim_start_matches("pool.a.").to_owned()).collect()
    }

    #[test]
    fn handoff_refuses_options_that_need_an_endpoint() {
        for command in ["./mine", "node app.js"] {
            assert_eq!(in_handoff(command, |_| {}), []);
            assert_eq!(keys(in_handoff(command, |pool| pool.ready = Ready::Probe)), ["ready"]);
            assert_eq!(keys(in_handoff(command, |pool| pool.health.probe = Probe::Tcp)), ["health.probe"]);
            assert_eq!(keys(in_handoff(command, |pool| pool.endpoint = EndpointKind::Unix)), ["endpoint"]);
            assert_eq!(keys(in_handoff(command, |pool| pool.drain = Drain::Idle)), ["drain"]);
        }
        assert_eq!(
            keys(in_handoff("./mine", |pool| pool.drain = Drain::Wait)),
            [""; 0],
            "the worker reports their ends"
        );
        assert_eq!(keys(in_handoff("node app.js", |pool| pool.drain = Drain::Wait)), ["drain"]);
        assert_eq!(
            keys(in_handoff("./mine", |pool| pool.socket_passing = SocketPassing::ListenFds)),
            ["socket-passing"]
        );
    }

    #[test]
    fn channel_probe_is_refused_without_a_channel() {
        let mut config = with(vec![pool("a", &["127.0.0.1:80"])]);
        config.pools[0].health.probe = Probe::Channel;
        assert_eq!(keys(broken_by_itself(&config)), ["health.probe"]);
        config.pools[0].mode = Mode::Shared;
        config.pools[0].ready = Ready::Notify;
        config.pools[0].program = Program::Command(vec!["./mine".to_owned()]);
        assert_eq!(keys(broken_by_itself(&config)), ["health.probe"]);
        config.pools[0].program = Program::Command(vec!["node".to_owned(), "app.js".to_owned()]);
        assert_eq!(keys(broken_by_itself(&config)), [""; 0]);
    }

    #[test]
    fn limits_are_refused_where_connections_are_not_counted() {
        let limited =
            |pool: &mut PoolConfig| (pool.max_connections, pool.max_connections_per_source) = (Some(9), Some(3));
        let both = ["max-connections", "max-connections-per-source"];
        assert_eq!(keys(in_handoff("./mine", limited)), [""; 0], "the worker reports their ends");
        assert_eq!(keys(in_handoff("node app.js", limited)), both);
        for mode in [Mode::Shared, Mode::Reuseport] {
            let change = |pool: &mut PoolConfig| {
                limited(pool);
                (pool.mode, pool.health.probe) = (mode, Probe::None);
            };
            assert_eq!(keys(in_handoff("./mine", change)), both, "{mode:?}");
        }
        let severity = |pool: PoolConfig| {
            let found = super::super::check(&with(vec![pool]), &|_| false);
            found.into_iter().map(|violation| violation.severity).collect::<Vec<_>>()
        };
        let mut node = pool("a", &["127.0.0.1:80"]);
        node.program = Program::Command(["node", "app.js"].map(str::to_owned).to_vec());
        (node.mode, node.ready, node.health.probe) = (Mode::Handoff, Ready::Listening, Probe::Channel);
        node.max_connections = Some(9);
        assert_eq!(severity(node), [Severity::Warning], "pending connections are bounded");
    }
}
