//! pm2 in cluster mode. Its daemon is our child in the foreground and has its own home, so that the user's pm2 is
//! neither read nor changed.
//!
//! Workers run with the `node` that pm2 finds, even if the command names another one by a path: cluster mode works in
//! this way.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::family::Family;
use super::node_cluster::workers_of;
use super::process::{PATIENCE_OF_DROP, Process, command, last};
use super::run::{run, run_within};
use super::wait::{Patience, until};
use super::{RunningSetup, Setup, SetupError, WorkerProcess, folder, ports, programs};
use crate::subject::Workload;

/// The longest time that the daemon and the workers may take until all are online.
const START: Duration = Duration::from_secs(30);
/// The longest time that a reload may take: each old worker may take five seconds to finish.
const COMMAND: Duration = Duration::from_secs(180);

/// The daemon and its workers.
#[derive(Debug)]
pub(super) struct Pm2 {
    program: PathBuf,
    address: SocketAddr,
    daemon: Process,
    folder: TempDir,
}

impl Pm2 {
    /// Starts them; when this returns, pm2 reports all workers online, and the address accepts connections.
    pub(super) fn start(setup: &Setup) -> Result<Self, SetupError> {
        ports::trying_again(|| Self::try_start(setup))
    }

    fn try_start(setup: &Setup) -> Result<Self, SetupError> {
        let program = programs::find("pm2").ok_or_else(|| SetupError::Unable("needs pm2".to_owned()))?;
        let Workload::Command(words) = &setup.workload else {
            return Err(SetupError::Unable("it runs Node applications only".to_owned()));
        };
        let (folder, address) = (folder()?, ports::address()?);
        let file = folder.path().join("ecosystem.config.json");
        let failed = |cause| SetupError::Failed(format!("cannot write {}: {cause}", file.display()));
        let here =
            std::env::current_dir().map_err(|cause| SetupError::Failed(format!("no working folder: {cause}")))?;
        std::fs::write(&file, ecosystem(words, setup.workers, address.port(), &here)).map_err(failed)?;
        let mut start = pm2(&program, folder.path());
        start.arg("start").arg(&file).arg("--no-daemon").envs(&setup.worker_env);
        start.env("PORT", address.port().to_string()).env("HOST", "127.0.0.1");
        let daemon = Process::spawn(start, folder.path(), "pm2")?;
        let running = Self { program, address, daemon, folder };
        running.wait_online(setup.workers)?;
        Ok(running)
    }

    fn wait_online(&self, workers: usize) -> Result<(), SetupError> {
        let looked = until(START, || {
            if let Some(exit) = self.daemon.exit() {
                return Some(Err(self.failed(&format!("pm2 ended before its workers were online ({exit})"))));
            }
            let is_there = self.living().len() == workers && TcpStream::connect(self.address).is_ok();
            (is_there && self.online() == Some(workers)).then_some(Ok(()))
        });
        looked.unwrap_or_else(|| {
            let what = format!("pm2's {workers} workers were not all online on {} within {START:?}", self.address);
            Err(self.failed(&what))
        })
    }

    fn failed(&self, what: &str) -> SetupError {
        let app = std::fs::read_to_string(self.folder.path().join("app.err")).unwrap_or_default();
        let said = last(&app, 10).join("\n  ");
        SetupError::Failed(format!("{what}; {}\nand the application:\n  {said}", self.daemon.last_words()))
    }

    fn living(&self) -> Vec<WorkerProcess> {
        workers_of(self.daemon.pid())
    }

    /// Returns the number of workers that pm2 reports online; `None` if it does not answer.
    fn online(&self) -> Option<usize> {
        let mut list = pm2(&self.program, self.folder.path());
        list.arg("jlist");
        online(&run(list, START).ok()?.stdout)
    }

    fn run_command(&self, words: &[&str], patience: Patience<'_>) -> Result<(), SetupError> {
        let mut command = pm2(&self.program, self.folder.path());
        command.args(words);
        let ended = run_within(command, patience)?;
        if ended.code == Some(0) {
            return Ok(());
        }
        let said = [last(&ended.stdout, 5), last(&ended.stderr, 5)].concat().join("\n  ");
        Err(SetupError::Failed(format!("`pm2 {}` failed (exit code {:?}):\n  {said}", words.join(" "), ended.code)))
    }
}

impl RunningSetup for Pm2 {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn balancer(&self) -> Vec<u32> {
        vec![self.daemon.pid()]
    }

    fn workers(&self) -> Result<Vec<WorkerProcess>, SetupError> {
        Ok(self.living())
    }

    fn reload(&mut self) -> Result<(), SetupError> {
        self.reload_within(Patience::of(COMMAND))
    }

    fn reload_within(&mut self, patience: Patience<'_>) -> Result<(), SetupError> {
        self.run_command(&["reload", "app"], patience)
    }

    fn scale(&mut self, workers: usize) -> Result<(), SetupError> {
        self.run_command(&["scale", "app", &workers.to_string()], Patience::of(COMMAND))?;
        self.wait_online(workers)
    }

    fn stop(&mut self, patience: Duration) {
        let family = Family::of(self.folder.path());
        self.daemon.end(patience);
        family.end(Duration::ZERO);
    }
}

impl Drop for Pm2 {
    fn drop(&mut self) {
        self.stop(PATIENCE_OF_DROP);
    }
}

/// Returns a pm2 command with its own home; it does not check for newer versions of itself.
fn pm2(program: &Path, folder: &Path) -> Command {
    let mut pm2 = command(program, folder);
    pm2.env("PM2_HOME", folder.join("home")).env("PM2_DISABLE_VERSION_CHECK", "true").env("NO_COLOR", "1");
    pm2
}

/// Returns the application as pm2 reads it from a file. Pure.
///
/// A replaced worker may take five seconds to finish and a new one ten to listen. That is more than pm2's own 1.6 s and
/// 3 s, so that a slow machine does not make a reload fail. A worker that dies is restarted without a limit.
fn ecosystem(words: &[String], workers: usize, port: u16, here: &Path) -> String {
    let mut words = words.iter().skip(1).map(|word| word.replace("{port}", &port.to_string()));
    let script = words.next().unwrap_or_default();
    let app = json!({
        "name": "app", "script": script, "args": words.collect::<Vec<_>>(), "exec_mode": "cluster",
        "instances": workers, "cwd": here,
        "kill_timeout": 5000, "listen_timeout": 10_000, "max_restarts": 1_000_000, "vizion": false,
    });
    json!({ "apps": [app] }).to_string()
}

/// Returns the number of online workers in the output of `pm2 jlist`; other text may come before it. Pure.
fn online(listed: &str) -> Option<usize> {
    let json = listed.get(listed.find("[{").or_else(|| listed.find("[]"))?..)?;
    let apps: Vec<serde_json::Value> = serde_json::from_str(json.trim()).ok()?;
    Some(apps.iter().filter(|app| app["pm2_env"]["status"] == "online").count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_has_its_arguments_and_its_port() {
        let words = ["node", "app.js", "--port={port}", "x"].map(str::to_owned);
        let read: serde_json::Value = serde_json::from_str(&ecosystem(&words, 3, 77, Path::new("/here"))).unwrap();
        let app = &read["apps"][0];
        assert_eq!((&app["script"], &app["args"]), (&json!("app.js"), &json!(["--port=77", "x"])));
        assert_eq!((&app["instances"], &app["cwd"]), (&json!(3), &json!("/here")));
    }

    #[test]
    fn only_workers_that_are_online_count_whatever_pm2_says_before() {
        let list = r#"[{"pid":1,"pm2_env":{"status":"online"}},{"pid":2,"pm2_env":{"status":"launching"}}]"#;
        assert_eq!(online(list), Some(1));
        assert_eq!(online(&format!(">>>> In-memory PM2 is out-of-date [v7]\n{list}\n")), Some(1));
        assert_eq!(online("[]"), Some(0));
        assert_eq!(online("nothing"), None);
    }
}
