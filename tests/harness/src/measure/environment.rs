//! Describes the machine and the programs on it, as far as a reader of the figures must know them.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use procfs::Current;

use crate::record::Environment;
use crate::setup::{Way, find};
use crate::subject::Workload;

/// Reads the present environment. A fact that cannot be read stays empty.
pub fn look(version: &str, workload: &Workload, ways: &[Way]) -> Environment {
    let load = procfs::LoadAverage::current();
    let load = load.map_or([0.0; 3], |load| [load.one, load.five, load.fifteen].map(f64::from));
    Environment {
        began: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        version: version.to_owned(),
        revision: revision(),
        command: std::env::args().collect(),
        workload: match workload {
            Workload::Demo => String::from("the demo worker"),
            Workload::Command(words) => words.join(" "),
        },
        cpu: cpu(),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        memory: procfs::Meminfo::current().map_or(0, |memory| memory.mem_total),
        kernel: ["ostype", "osrelease"]
            .map(|name| read(&format!("/proc/sys/kernel/{name}")).unwrap_or_default())
            .join(" "),
        load_before: load,
        programs: programs(ways),
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn cpu() -> String {
    let info = procfs::CpuInfo::current().ok();
    let name = info.as_ref().and_then(|info| info.model_name(0)).map(str::to_owned);
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Returns the revision of the sources in the current folder, with `-dirty` if they are changed.
fn revision() -> Option<String> {
    let told = ask("git", &["describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"])?;
    // An error message of git's is not a revision.
    (!told.contains(' ')).then_some(told)
}

fn programs(ways: &[Way]) -> BTreeMap<String, String> {
    let takes_part = |way: Way| ways.contains(&way);
    let has_node = takes_part(Way::NodeCluster) || takes_part(Way::Pm2);
    let versions = [
        ("haproxy", takes_part(Way::Haproxy).then(|| ask("haproxy", &["-v"]))),
        ("nginx", takes_part(Way::Nginx).then(|| ask("nginx", &["-v"]))),
        ("node", has_node.then(|| ask("node", &["--version"]))),
        ("pm2", takes_part(Way::Pm2).then(pm2)),
    ];
    versions.into_iter().filter_map(|(name, version)| Some((String::from(name), version??))).collect()
}

/// Returns the first line with a digit that a program prints.
fn ask(program: &str, flags: &[&str]) -> Option<String> {
    let output = Command::new(find(program)?).args(flags).stdin(Stdio::null()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().find(|line| line.contains(|c: char| c.is_ascii_digit())).map(|line| line.trim().to_owned())
}

/// Reads the version from pm2's package: pm2 itself would start a daemon, whatever it is asked.
fn pm2() -> Option<String> {
    let package = std::fs::canonicalize(find("pm2")?).ok()?.parent()?.parent()?.join("package.json");
    let package: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(package).ok()?).ok()?;
    package["version"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_is_named() {
        let found = look("1.2.3", &Workload::Demo, &[]);
        assert!(found.cores > 0 && found.memory > 0 && found.kernel.starts_with("Linux "), "{found:?}");
        assert!(!found.cpu.is_empty() && found.began.ends_with('Z') && found.programs.is_empty(), "{found:?}");
    }

    #[test]
    fn program_that_is_not_here_has_no_version() {
        assert_eq!(ask("no-such-program-at-all", &["-v"]), None);
    }
}
