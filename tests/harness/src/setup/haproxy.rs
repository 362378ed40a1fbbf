//! HAProxy in front of the setup's workers: `mode tcp`, round robin, with health checks.
//!
//! It has its default number of threads (one for each processor). If a worker refuses, it tries another one at once.
//! Its checks are at least as frequent as the product's, and request the same page from the demo worker.

use std::fmt::Write;

use super::balanced::{Balanced, Task, connections, hard_limit};
use super::process::command;
use super::{Setup, SetupError, programs};
use crate::subject::Product;

/// Starts it.
pub(super) fn start(product: &Product, setup: &Setup) -> Result<Balanced, SetupError> {
    let program = programs::find("haproxy").ok_or_else(|| SetupError::Unable("needs haproxy".to_owned()))?;
    Balanced::start("haproxy", product, setup, |task| {
        let file = task.folder.join("haproxy.cfg");
        let failed = |cause| SetupError::Failed(format!("cannot write {}: {cause}", file.display()));
        std::fs::write(&file, config(task, connections(hard_limit()))).map_err(failed)?;
        let mut haproxy = command(&program, task.folder);
        // In the foreground it is a single process.
        haproxy.arg("-db").arg("-f").arg(&file);
        Ok(haproxy)
    })
}

/// Returns its configuration. Pure.
fn config(task: &Task<'_>, connections: u64) -> String {
    let mut text = format!(
        "global
    maxconn {connections}
defaults
    mode tcp
    retries 3
    option redispatch 1
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    timeout check 1s
frontend public
    bind {} backlog 4096
    default_backend workers
backend workers
    balance roundrobin
",
        task.public
    );
    if let Some(path) = task.health {
        let _ = writeln!(text, "    option httpchk GET {path}");
    }
    for (slot, address) in task.workers.iter().enumerate() {
        let _ = writeln!(text, "    server w{slot} {address} check inter 1s fastinter 200ms fall 2 rise 1");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_worker_is_checked_by_its_page_where_it_has_one() {
        let workers = ["127.0.0.1:1001", "127.0.0.1:1002"].map(|address| address.parse().unwrap());
        let public = "127.0.0.1:1000".parse().unwrap();
        let task = Task { public, workers: &workers, health: Some("/health"), folder: Path::new("/") };
        let text = config(&task, 77);
        for line in [
            "    maxconn 77",
            "    bind 127.0.0.1:1000 backlog 4096",
            "    option httpchk GET /health",
            "    server w0 127.0.0.1:1001 check inter 1s fastinter 200ms fall 2 rise 1",
            "    server w1 127.0.0.1:1002 check inter 1s fastinter 200ms fall 2 rise 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
        }
        assert!(!config(&Task { health: None, ..task }, 77).contains("httpchk"));
    }
}
