//! nginx's stream module in front of the setup's workers: round robin.
//!
//! It has as many worker processes as processors, each with its own listener. Its checks are passive, as in every free
//! nginx: if a connect fails or takes over a second, the connection goes to another worker, and this one gets none for
//! a second.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::balanced::{Balanced, Task, connections, hard_limit};
use super::process::command;
use super::run::run;
use super::{Setup, SetupError, folder, programs};
use crate::subject::Product;

/// Starts it.
pub(super) fn start(product: &Product, setup: &Setup) -> Result<Balanced, SetupError> {
    let program = programs::find("nginx").ok_or_else(|| SetupError::Unable("needs nginx".to_owned()))?;
    let module = module(&program)?;
    Balanced::start("nginx", product, setup, |task| {
        let file = task.folder.join("nginx.conf");
        let failed = |cause| SetupError::Failed(format!("cannot write {}: {cause}", file.display()));
        std::fs::write(&file, config(task, module.as_deref(), connections(hard_limit()))).map_err(failed)?;
        let mut nginx = command(&program, task.folder);
        // `-e`: otherwise it opens the machine's own log before it has read its configuration.
        nginx.arg("-p").arg(task.folder).arg("-e").arg(task.folder.join("nginx.log")).arg("-c").arg(&file);
        Ok(nginx)
    })
}

/// Returns the file of the stream module; `None` if the module is built in.
fn module(program: &Path) -> Result<Option<PathBuf>, SetupError> {
    let mut nginx = command(program, folder()?.path());
    nginx.arg("-V");
    let built = run(nginx, Duration::from_secs(10))?.stderr;
    match of_build(&built)? {
        Some(file) if !file.is_file() => Err(missing()),
        module => Ok(module),
    }
}

/// Finds the file of the stream module in the output of `nginx -V`; `None` if the module is built in. Pure.
fn of_build(built: &str) -> Result<Option<PathBuf>, SetupError> {
    let mut words = built.split_whitespace();
    if words.clone().any(|word| word == "--with-stream") {
        return Ok(None);
    }
    if words.clone().all(|word| word != "--with-stream=dynamic") {
        return Err(missing());
    }
    let folder = words.find_map(|word| word.strip_prefix("--modules-path=")).unwrap_or("/usr/lib/nginx/modules");
    Ok(Some(Path::new(folder).join("ngx_stream_module.so")))
}

fn missing() -> SetupError {
    SetupError::Unable("needs nginx's stream module (on Debian: libnginx-mod-stream)".to_owned())
}

/// Returns its configuration. Pure.
fn config(task: &Task<'_>, module: Option<&Path>, connections: u64) -> String {
    let mut text = String::new();
    if let Some(module) = module {
        let _ = writeln!(text, "load_module {};", module.display());
    }
    let files = connections * 2 + 100;
    let _ = writeln!(
        text,
        "daemon off;
worker_processes auto;
worker_rlimit_nofile {files};
pid nginx.pid;
error_log nginx.log warn;
events {{ worker_connections {files}; }}
stream {{
    upstream workers {{
        zone workers 64k;"
    );
    for address in task.workers {
        let _ = writeln!(text, "        server {address} max_fails=1 fail_timeout=1s;");
    }
    let _ = writeln!(
        text,
        "    }}
    server {{
        listen {} backlog=4096 reuseport;
        proxy_pass workers;
        proxy_connect_timeout 1s;
        proxy_timeout 30s;
    }}
}}",
        task.public
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_module_is_a_file_or_part_of_the_program_or_missing() {
        let dynamic = "configure arguments: --modules-path=/m --with-stream_ssl_module --with-stream=dynamic";
        assert_eq!(of_build(dynamic), Ok(Some(PathBuf::from("/m/ngx_stream_module.so"))));
        assert_eq!(of_build("configure arguments: --with-stream --modules-path=/m"), Ok(None));
        assert_eq!(of_build("configure arguments: --with-stream_ssl_module"), Err(missing()));
    }

    #[test]
    fn every_worker_is_an_upstream() {
        let workers = ["127.0.0.1:1001", "127.0.0.1:1002"].map(|address| address.parse().unwrap());
        let public = "127.0.0.1:1000".parse().unwrap();
        let task = Task { public, workers: &workers, health: None, folder: Path::new("/") };
        let text = config(&task, Some(Path::new("/m/x.so")), 1000);
        assert!(text.starts_with("load_module /m/x.so;\ndaemon off;\n"), "{text}");
        assert!(text.contains("server 127.0.0.1:1001 max") && text.contains("server 127.0.0.1:1002 max"), "{text}");
        assert!(text.contains("listen 127.0.0.1:1000 backlog=4096 reuseport;"), "{text}");
        assert!(config(&task, None, 1000).starts_with("daemon off;"));
    }
}
