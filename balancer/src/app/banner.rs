//! The first text that a person sees: what runs where, and what to try next.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::Origin;
use crate::config::Address;
use crate::mode::Acceptor;
use crate::pool::Pool;
use crate::printable;

/// Prints it to standard error if that is a terminal; elsewhere a log collector reads, and the banner is left out.
pub(super) fn print(origin: &Origin, pools: &[Arc<Pool>], admin: Option<SocketAddr>, control: Option<&Path>) {
    use std::io::Write;
    // The name by which it was called: after `cargo run` the program is not on the PATH.
    let own_name = std::env::args().next().unwrap_or_else(|| "roundelay".to_owned());
    let _ = anstream::stderr()
        .write_all(printable::escape_lines(&text(origin, pools, admin, control, &own_name)).as_bytes());
}

/// Prints the addresses of pools that had none at the start, once their applications have asked for one.
pub(super) fn print_later(pools: &[Arc<Pool>]) {
    use std::io::Write;
    for pool in pools.iter().filter(|pool| pool.listening().is_empty()) {
        let (pool, is_one_of_several) = (Arc::clone(pool), pools.len() > 1);
        tokio::spawn(async move {
            pool.first_address().await;
            let _ = anstream::stderr().write_all(public(&pool, is_one_of_several).as_bytes());
        });
    }
}

fn text(
    origin: &Origin,
    pools: &[Arc<Pool>],
    admin: Option<SocketAddr>,
    control: Option<&Path>,
    own_name: &str,
) -> String {
    let mut text = String::new();
    let from = match origin {
        Origin::Demo => "the built-in demo pool; your own: roundelay run -- CMD".to_owned(),
        Origin::CommandLine => pools.first().map(|pool| pool.config().program.to_string()).unwrap_or_default(),
        Origin::File(path) => path.display().to_string(),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n  roundelay {}   {from}\n", env!("CARGO_PKG_VERSION"));
    for pool in pools {
        if pool.listening().is_empty() {
            let _ = writeln!(text, "  public     {:<29}  {}", "where the application asks", pool.config().program);
        }
        text.push_str(&public(pool, pools.len() > 1));
    }
    if let Some(admin) = admin {
        let _ = writeln!(text, "  admin      {:<29}  metrics at /metrics", format!("http://{admin}/"));
    }
    if let Some(control) = control {
        let _ = writeln!(text, "  control    {}", control.display());
    }
    if *origin == Origin::Demo
        && let Some(address) = pools.first().and_then(|pool| pool.listening().first().cloned())
    {
        let again =
            if pools.iter().any(|pool| pool.slots().len() > 1) { "  (again: the other worker answers)" } else { "" };
        let _ = writeln!(text, "\n  try    {}{again}", curl(&address));
        if control.is_some() {
            let _ = writeln!(text, "         {own_name} list   (kill -9 a pid, and list again)");
        }
    }
    let _ = writeln!(text, "  stop   Ctrl-C  (again to stop at once)");
    text.push('\n');
    text
}

/// Writes a line for each public address of a pool, with the pool's name if there are several pools.
fn public(pool: &Pool, is_one_of_several: bool) -> String {
    let mut text = String::new();
    for address in pool.listening().iter() {
        let workers = match pool.slots().len() {
            1 => "1 worker".to_owned(),
            n => format!("{n} workers"),
        };
        let how = match pool.mode.acceptor() {
            Acceptor::Master => format!("{} over {workers}", pool.config().strategy),
            Acceptor::Workers if pool.slots().len() == 1 => "1 worker accepts by itself".to_owned(),
            Acceptor::Workers => format!("{workers} accept by themselves"),
        };
        let name = if is_one_of_several { format!("{}: ", pool.name) } else { String::new() };
        let _ = writeln!(text, "  public     {:<29}  {name}{how}", url(address));
    }
    text
}

/// Returns the shell command that sends a request to the address.
fn curl(address: &Address) -> String {
    match address {
        Address::Tcp(_) | Address::Passed(_) => format!("curl {}", url(address)),
        Address::Unix(path) => {
            format!("curl --unix-socket {} http://localhost/", printable::escape(&path.display().to_string()))
        }
    }
}

/// Returns the address that a person would type. A wildcard address is reached by loopback.
fn url(address: &Address) -> String {
    match address {
        Address::Tcp(address) if address.ip().is_unspecified() => format!("http://localhost:{}/", address.port()),
        Address::Tcp(address) => format!("http://{address}/"),
        // Escaped, since the application may have chosen the path.
        Address::Unix(_) | Address::Passed(_) => printable::escape(&address.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Program};

    #[test]
    fn banner_names_pools_addresses_and_commands_to_try() {
        let config = config::PoolConfig::new("demo", Program::Demo);
        let listening = config.listen.clone();
        let pools = [Arc::new(Pool::new(config, 2, 1, listening))];
        let admin = Some(SocketAddr::from(([127, 0, 0, 1], 9900)));
        let text = text(&Origin::Demo, &pools, admin, Some(Path::new("/run/c.sock")), "target/release/roundelay");
        for part in [
            "public     http://127.0.0.1:8080/",
            "round-robin over 2 workers",
            "admin      http://127.0.0.1:9900/",
            "control    /run/c.sock",
            "try    curl http://127.0.0.1:8080/",
            "target/release/roundelay list",
            "Ctrl-C",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}
