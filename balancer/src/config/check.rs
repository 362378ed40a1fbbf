//! Rules across options. Pure: the checks see the configuration and which keys were written, not their positions.

mod addresses;
mod choice;
mod distribution;
mod logs;
mod node;

use std::time::Duration;

use addresses::{Taken, overlap};

use super::problem::Severity;
use super::{
    Address, Config, Control, EndpointKind, MOST_WORKERS, PassedAs, PoolConfig, Program, ProxyProtocol, WorkerCount,
};
use crate::mode::Mode;
use crate::os::limits::LONGEST_UNIX_PATH;

/// A broken rule. Paths are those of the key table: `pool.api.listen`, with `[1]` for an element of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The severity.
    pub severity: Severity,
    /// The fault, with the values.
    pub message: String,
    /// The change that mends it.
    pub label: Option<String>,
    /// The key at fault.
    pub path: String,
    /// The key that it contradicts.
    pub also: Option<String>,
}

impl Violation {
    fn error(path: String, message: String) -> Self {
        Self { severity: Severity::Error, message, label: None, path, also: None }
    }

    fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    fn also(mut self, path: String) -> Self {
        self.also = Some(path);
        self
    }
}

/// Returns every rule that `config` breaks. `is_written` returns true for a path that was set.
pub fn check(config: &Config, is_written: &dyn Fn(&str) -> bool) -> Vec<Violation> {
    let mut found = Vec::new();
    for pool in &config.pools {
        choice::check(pool, is_written, &mut found);
        distribution::check(pool, &mut found);
        node::check(pool, &mut found);
        client_address(pool, &mut found);
        times(pool, &mut found);
        environment(pool, &mut found);
    }
    addresses(config, is_written, &mut found);
    logs::check(config, &mut found);
    admin(config, is_written, &mut found);
    found
}

fn path(pool: &PoolConfig, key: &str) -> String {
    format!("pool.{}.{key}", pool.name)
}

/// Returns the greatest number of workers on any machine. The value of `auto` depends on the machine, so only a
/// configuration that is valid on no machine is refused.
fn most_workers(pool: &PoolConfig) -> u32 {
    match pool.workers {
        WorkerCount::Count(n) => n,
        WorkerCount::Auto => 4,
        WorkerCount::Max | WorkerCount::AllBut(_) => MOST_WORKERS,
    }
}

fn client_address(pool: &PoolConfig, found: &mut Vec<Violation>) {
    if pool.proxy_protocol == ProxyProtocol::Off {
        return;
    }
    let key = || path(pool, "proxy-protocol");
    if pool.mode != Mode::Proxy {
        let message = format!(
            "in mode `{}` a worker has the client's own connection, so the master cannot put a header into it",
            pool.mode.name()
        );
        found.push(Violation::error(key(), message).label("remove it").also(path(pool, "mode")));
    }
    if pool.program == Program::Demo {
        let message = "the demo worker does not read the PROXY protocol".to_owned();
        found.push(Violation::error(key(), message).label("use \"off\", or a program that does"));
    }
}

fn times(pool: &PoolConfig, found: &mut Vec<Violation>) {
    let (health, restart) = (&pool.health, &pool.restart);
    let ordered = [
        ("health.timeout", health.timeout, "health.interval", health.interval),
        ("health.fast-interval", health.fast_interval, "health.interval", health.interval),
        ("restart.backoff", restart.backoff, "restart.backoff-max", restart.backoff_max),
        ("connect-timeout", pool.connect_timeout, "dispatch-timeout", pool.dispatch_timeout),
    ];
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(32_767));
    if !pool.keepalive.is_zero() && !(least..=most).contains(&pool.keepalive) {
        let text = format!("keepalive ({}) is outside of what TCP takes", humantime::format_duration(pool.keepalive));
        found.push(Violation::error(path(pool, "keepalive"), text).label("1s to 9h, or \"off\""));
    }
    for (short, shorter, long, longer) in ordered {
        if shorter > longer {
            let [a, b] = [shorter, longer].map(humantime::format_duration);
            let message = format!("{short} ({a}) is longer than {long} ({b})");
            found.push(Violation::error(path(pool, short), message).also(path(pool, long)));
        }
    }
}

/// Variables that the master sets for every worker, even if the pool's `env` has them.
const WORKER_VARIABLES: [&str; 8] = [
    "PORT",
    "HOST",
    "ROUNDELAY_POOL",
    "ROUNDELAY_WORKER",
    "ROUNDELAY_WORKERS",
    "ROUNDELAY_GENERATION",
    "NODE_APP_INSTANCE",
    "NOTIFY_SOCKET",
];

fn environment(pool: &PoolConfig, found: &mut Vec<Violation>) {
    // A worker that inherits its listeners or gets its connections gets no port from the master, so it may have a
    // `PORT` of its own.
    let is_told_port = pool.passed_as() == PassedAs::Nothing && pool.endpoint != EndpointKind::Inherited;
    let is_free = |name: &str| !is_told_port && ["PORT", "HOST"].contains(&name);
    for name in pool.env.keys().filter(|name| WORKER_VARIABLES.contains(&name.as_str()) && !is_free(name)) {
        let message = format!("`{name}` is set by the master for each worker");
        let label = match name.as_str() {
            "PORT" => "this value is lost; the public address is `listen`",
            _ => "this value may be lost",
        };
        let violation = Violation::error(path(pool, &format!("env.{name}")), message).label(label);
        found.push(Violation { severity: Severity::Warning, ..violation });
    }
}

fn addresses(config: &Config, is_written: &dyn Fn(&str) -> bool, found: &mut Vec<Violation>) {
    let each = |pool: &'_ PoolConfig| (0..pool.listen.len()).collect::<Vec<_>>();
    let all: Vec<(&PoolConfig, usize)> =
        config.pools.iter().flat_map(|pool| each(pool).into_iter().map(move |i| (pool, i))).collect();
    let mut taken = Taken::default();
    for &(pool, i) in &all {
        let mine = &pool.listen[i];
        let Some((other, j)) = taken.take((pool, i)) else { continue };
        let theirs = &other.listen[j];
        let what = if mine == theirs { format!("{mine}") } else { format!("{mine}, which {theirs} overlaps") };
        let message = if other.name == pool.name {
            format!("pool `{}` lists {what} twice", pool.name).replace(" overlaps twice", " overlaps")
        } else {
            format!("pools `{}` and `{}` both listen on {what}", other.name, pool.name)
        };
        let violation = Violation::error(path(pool, &format!("listen[{i}]")), message);
        let violation = violation.also(path(other, &format!("listen[{j}]")));
        let is_default = !is_written(&path(pool, "listen"));
        found.push(if is_default { violation.label("give each pool its own `listen`") } else { violation });
    }
    if let Control::Path(control) = &config.master.control {
        if control.as_os_str().len() > LONGEST_UNIX_PATH {
            let length = control.as_os_str().len();
            let message = format!("a unix socket's path may have {LONGEST_UNIX_PATH} bytes, and this one has {length}");
            found.push(Violation::error("master.control".into(), message));
        }
        for &(pool, i) in &all {
            if matches!(&pool.listen[i], Address::Unix(path) if path == control) {
                let message = format!("pool `{}` listens on the control socket {}", pool.name, control.display());
                let violation = Violation::error(path(pool, &format!("listen[{i}]")), message);
                found.push(violation.also("master.control".into()));
            }
        }
    }
}

fn admin(config: &Config, is_written: &dyn Fn(&str) -> bool, found: &mut Vec<Violation>) {
    let Some(admin) = config.admin.listen else { return };
    if !admin.ip().to_canonical().is_loopback() {
        let message =
            format!("the admin port {admin} could be reached from other machines, and it asks nobody who they are");
        let violation = Violation::error("admin.listen".into(), message);
        found.push(violation.label("use a loopback address such as 127.0.0.1:9900"));
    }
    for pool in &config.pools {
        for (i, address) in pool.listen.iter().enumerate() {
            if !overlap(address, &Address::Tcp(admin), false) {
                continue;
            }
            let public = path(pool, &format!("listen[{i}]"));
            let message = format!("pool `{}` listens on {address}, which the admin port {admin} needs", pool.name);
            found.push(if is_written("admin.listen") {
                Violation::error("admin.listen".into(), message).also(public)
            } else {
                Violation::error(public, message).label("give [admin] another `listen`, or \"off\"")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Program;
    use crate::mode::Mode;

    pub(super) fn pool(name: &str, listen: &[&str]) -> PoolConfig {
        let mut pool = PoolConfig::new(name, Program::Demo);
        pool.listen = listen.iter().map(|text| text.parse().expect("an address")).collect();
        pool
    }

    pub(super) fn broken(config: &Config) -> Vec<(String, String)> {
        check(config, &|_| true).into_iter().map(|found| (found.path, found.message)).collect()
    }

    /// Returns the broken rules of a configuration in which no key was written: only those that follow from a mode.
    pub(super) fn broken_by_itself(config: &Config) -> Vec<(String, String)> {
        check(config, &|_| false).into_iter().map(|found| (found.path, found.message)).collect()
    }

    pub(super) fn with(pools: Vec<PoolConfig>) -> Config {
        Config { pools, ..Config::default() }
    }

    #[test]
    fn defaults_break_no_rule() {
        assert_eq!(broken(&with(vec![PoolConfig::new("api", Program::Demo)])), []);
    }

    #[test]
    fn addresses_that_linux_would_refuse_together_are_found() {
        let clash = |a: &[&str], b: &[&str]| !broken(&with(vec![pool("a", a), pool("b", b)])).is_empty();
        assert!(clash(&["127.0.0.1:80"], &["127.0.0.1:80"]));
        assert!(clash(&["0.0.0.0:80"], &["127.0.0.1:80"]));
        assert!(clash(&["[::]:80"], &["0.0.0.0:80"]));
        assert!(clash(&["[::]:80"], &["127.0.0.1:80"]));
        assert!(clash(&["[::ffff:127.0.0.1]:80"], &["127.0.0.1:80"]));
        assert!(clash(&["unix:/a"], &["unix:/a"]));
        assert!(!clash(&["0.0.0.0:80"], &["[::1]:80"]));
        assert!(!clash(&["127.0.0.1:80"], &["127.0.0.2:80"]));
        assert!(!clash(&["127.0.0.1:0"], &["127.0.0.1:0"]));
        assert!(!clash(&["unix:/a"], &["unix:/b"]));
        // Within one pool, `[::]` beside `0.0.0.0` takes IPv6 clients only.
        assert!(!clash(&["[::]:80", "0.0.0.0:80"], &["127.0.0.1:81"]));
        assert!(clash(&["[::]:80", "127.0.0.1:80"], &["127.0.0.1:81"]));
    }

    #[test]
    fn admin_port_must_be_loopback_and_not_public() {
        let message = |listen: &str, public: &str| {
            let mut config = with(vec![pool("a", &[public])]);
            config.admin.listen = listen.parse().ok();
            broken(&config).into_iter().map(|(path, _)| path).collect::<Vec<_>>()
        };
        for address in ["127.0.0.1:9900", "127.9.9.9:9900", "[::1]:9900", "[::ffff:127.0.0.1]:9900"] {
            assert_eq!(message(address, "127.0.0.1:80"), [""; 0], "{address}");
        }
        for address in ["0.0.0.0:9900", "[::]:9900", "10.0.0.1:9900", "[::ffff:1.2.3.4]:9900"] {
            assert_eq!(message(address, "127.0.0.1:80"), ["admin.listen"], "{address}");
        }
        assert_eq!(message("127.0.0.1:9900", ":9900"), ["admin.listen"]);
    }

    #[test]
    fn proxy_header_needs_a_reading_program_and_mode_proxy() {
        let mut config = with(vec![pool("a", &["127.0.0.1:80"])]);
        config.pools[0].proxy_protocol = ProxyProtocol::V1;
        assert_eq!(
            broken(&config),
            [("pool.a.proxy-protocol".to_owned(), "the demo worker does not read the PROXY protocol".to_owned())]
        );
        config.pools[0].program = Program::Command(vec!["nginx".to_owned()]);
        assert_eq!(broken(&config), []);
        for mode in [Mode::Handoff, Mode::Shared, Mode::Reuseport] {
            config.pools[0].mode = mode;
            let paths: Vec<_> = check(&config, &|_| false).into_iter().map(|found| found.path).collect();
            assert!(paths.contains(&"pool.a.proxy-protocol".to_owned()), "{paths:?}");
        }
    }
}
