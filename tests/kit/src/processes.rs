//! Reads and ends processes by pid.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Sends a signal (`TERM`, `KILL`, `STOP`, ...) to a process, or with a negative pid to a group.
pub fn kill(pid: i64, signal: &str) {
    let status = Command::new("kill").args(["-s", signal, "--", &pid.to_string()]).stderr(Stdio::null()).status();
    status.unwrap();
}

/// True while the process exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z" && state != "X"))
}

/// The fields of `/proc/PID/stat` after the command: state, parent, group, ...
pub fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// User and system time of a process so far.
#[track_caller]
pub fn cpu_time(pid: u32) -> Duration {
    let fields = stat(pid).unwrap();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    // USER_HZ is 100 wherever Linux runs these days.
    Duration::from_millis(ticks * 10)
}

/// A set of signals of `/proc/PID/status`: `SigBlk`, `SigIgn`, `SigCgt`. Signal n is bit n - 1.
#[track_caller]
pub fn signals(pid: u32, set: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(":\t"));
    u64::from_str_radix(line.unwrap(), 16).unwrap()
}

/// A field of `/proc/PID/status`, of each of its threads: `Uid`, `CapEff`, `NoNewPrivs`. They must agree.
#[track_caller]
pub fn status(pid: u32, field: &str) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let value = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("status")).ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Some(value.unwrap().split_whitespace().map(str::to_owned).collect())
    };
    let mut values: Vec<Vec<String>> = threads.filter_map(value).collect();
    values.dedup();
    assert_eq!(values.len(), 1, "{field} of the threads of {pid}");
    values.remove(0)
}

/// The names of the threads of a process, in order.
#[track_caller]
#[must_use]
pub fn threads(pid: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let name = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("comm")).ok();
    let mut names: Vec<_> = threads.filter_map(name).map(|name| name.trim_end().to_owned()).collect();
    names.sort();
    names
}

/// The program and arguments of a process; empty if it is gone.
pub fn command_line(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).split_terminator('\0').map(str::to_owned).collect()
}

/// The environment a process was started with, as `NAME=value`.
pub fn environment(pid: u32) -> Vec<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&environment).split_terminator('\0').map(str::to_owned).collect()
}

/// A variable of a worker's environment; it must be there once.
#[track_caller]
pub fn variable(environment: &[String], name: &str) -> String {
    let values: Vec<_> = environment.iter().filter_map(|one| one.strip_prefix(name)?.strip_prefix('=')).collect();
    assert_eq!(values.len(), 1, "{name} in {environment:?}");
    values[0].to_owned()
}

/// The open descriptors of a process and what they are, in order.
#[track_caller]
pub fn descriptors(pid: u32) -> Vec<(u32, String)> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut found: Vec<_> = entries
        .map(|entry| {
            let target = std::fs::read_link(entry.path()).map(|path| path.display().to_string()).unwrap_or_default();
            (entry.file_name().to_str().unwrap().parse().unwrap(), target)
        })
        .collect();
    found.sort();
    found
}

/// The living children of a process.
pub fn children(parent: u32) -> Vec<u32> {
    let is_child = |&pid: &u32| stat(pid).is_some_and(|fields| fields[1] == parent.to_string());
    all().into_iter().filter(|&pid| is_alive(pid)).filter(is_child).collect()
}

/// The living processes that were started with `variable` (`NAME=value`) in their environment.
pub fn marked(variable: &str) -> Vec<u32> {
    let is_marked = |&pid: &u32| environment(pid).iter().any(|one| one == variable);
    all().into_iter().filter(is_marked).filter(|&pid| is_alive(pid)).collect()
}

fn all() -> Vec<u32> {
    let entries = std::fs::read_dir(Path::new("/proc")).unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
