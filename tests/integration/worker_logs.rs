//! The log files of workers: whole lines with the worker's name, bounded on disk. A disk that fails blocks no worker.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::kit::{BINARY, Master, Setup, burst, demo_after, has, missing, shell, wait_until};

/// A master whose pool `app` logs to `app.log` in its folder.
fn logging(flags: &[&str], script: &str) -> Setup {
    Setup::app(&[&["--set", "pool.app.log.to=app.log"], flags].concat(), &shell(script))
}

/// The log and its rotated files, by number.
fn files(folder: &Path) -> BTreeMap<u32, PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let numbered = entries.filter_map(|path| {
        let rest = path.file_name()?.to_str()?.strip_prefix("app.log")?.to_owned();
        let number = if rest.is_empty() { 0 } else { rest.strip_prefix('.')?.parse().unwrap() };
        Some((number, path))
    });
    numbered.collect()
}

/// The lines of all files, oldest first. Nothing may be writing any more.
fn lines(folder: &Path) -> Vec<String> {
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    let texts: Vec<_> = files(folder).values().rev().map(read).collect();
    for text in &texts {
        assert!(text.is_empty() || text.ends_with('\n'), "a file ends with a line: {:?}", text.lines().last());
    }
    texts.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
}

fn text(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("app.log")).unwrap_or_default()
}

fn dropped(master: &Master, labels: &[&str]) -> f64 {
    master.metric("roundelay_log_dropped_total", labels)
}

/// Returns true if that many lines, and one line of each worker that says where it listens, were written or dropped.
/// Each is counted after the event.
fn are_accounted(master: &Master, lines: usize) -> bool {
    let counted = master.metric("roundelay_log_lines_total", &[]) + dropped(master, &[]);
    counted == (lines + master.workers().len()) as f64
}

#[test]
fn workers_of_a_pool_write_whole_named_lines_to_one_file() {
    let script = demo_after("i=0; while test $i -lt 300; do echo out $i; echo err $i >&2; i=$((i + 1)); done");
    let mut master = logging(&["-i", "3"], &script).start_ready();
    wait_until("all lines", || are_accounted(&master, 3 * 600));
    for slot in 0..3 {
        for (stream, word) in [("stdout", "out"), ("stderr", "err")] {
            let mark = format!(" app/{slot} {stream} | {word} ");
            let lines = lines(master.dir());
            let found: Vec<_> = lines.iter().filter_map(|line| line.split_once(&mark)).collect();
            let numbers: Vec<_> = found.iter().map(|(_, number)| number.parse::<usize>().unwrap()).collect();
            assert_eq!(numbers, (0..300).collect::<Vec<_>>());
            for (time, _) in found {
                assert!(time.len() == "2026-01-02T03:04:05.678Z".len() && time.ends_with('Z'), "{time}");
            }
        }
    }
    assert!(!master.log().contains("| out "), "they are in the file instead");
    // The last lines of a stop are written before the master ends.
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
}

#[test]
fn json_is_one_object_a_line_wherever_it_goes() {
    let script = demo_after(r#"printf '{"quoted": "\\"}\t\033[31mred\302\205 \342\200\256x \377\n'; echo err >&2"#);
    let meant = "{\"quoted\": \"\\\"}\t\u{1b}[31mred\u{85} \u{202e}x \u{fffd}";
    let check = |text: &str, pid: Option<u32>| {
        let objects = text.lines().filter(|line| line.contains("\"line\":"));
        let objects: Vec<serde_json::Value> = objects.map(|line| serde_json::from_str(line).unwrap()).collect();
        let first = objects.iter().find(|one| one["stream"] == "stdout").unwrap();
        assert_eq!(first["line"], meant);
        assert_eq!((&first["pool"], &first["worker"], &first["incarnation"]), (&"app".into(), &0.into(), &1.into()));
        assert_eq!(first["pid"].as_u64(), pid.map(u64::from));
        assert!(first["ts"].as_str().unwrap().ends_with('Z'));
        assert!(objects.iter().any(|one| one["stream"] == "stderr" && one["line"] == "err"));
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    };
    let json = ["-i", "1", "--set", "pool.app.log.format=json"];
    let master = logging(&json, &script).start_ready();
    wait_until("both lines", || are_accounted(&master, 2));
    check(&text(master.dir()), master.worker(0).pid);

    let master = Setup::app(&json, &shell(&script)).start_ready();
    master.wait_log("\"line\":\"err\"");
    check(&master.log(), master.worker(0).pid);
}

/// Each worker writes this many lines with numbers.
const FLOOD: usize = 30_000;

fn flood() -> String {
    demo_after(&format!("seq -f \"$ROUNDELAY_WORKER: line %.0f of a flood that is long enough\" 1 {FLOOD}"))
}

#[test]
fn flood_is_rotated_into_files_and_no_line_is_lost() {
    let flags = ["-i", "2", "--set", "pool.app.log.max-size=256KiB", "--set", "pool.app.log.keep=100"];
    let master = logging(&flags, &flood()).start_ready();
    wait_until("every line to be accounted for", || are_accounted(&master, 2 * FLOOD));
    for slot in 0..2 {
        let number = |line: &String| {
            let rest = line.split_once(&format!(" app/{slot} stdout | {slot}: line "))?.1;
            rest.strip_suffix(" of a flood that is long enough").unwrap().parse::<usize>().ok()
        };
        let labels = [format!("worker=\"{slot}\""), "stream=\"stdout\"".to_owned()];
        let dropped = dropped(&master, &labels.each_ref().map(String::as_str));
        let numbers: Vec<_> = lines(master.dir()).iter().filter_map(number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "each once, and in order over all files");
        assert_eq!((numbers.len(), dropped), (FLOOD, 0.0), "all of them fit into the queue");
    }
    let files = files(master.dir());
    assert!(files.len() > 10, "{files:?}");
    for path in files.values() {
        assert!(path.metadata().unwrap().len() <= 256 << 10, "{path:?}");
    }
}

#[test]
fn pool_never_exceeds_its_disk_limit() {
    const MAX: u64 = 128 << 10;
    let flags = ["-i", "2", "--set", "pool.app.log.max-size=128KiB", "--set", "pool.app.log.keep=2"];
    let master = logging(&flags, &flood()).start();
    wait_until("every line to be accounted for", || {
        // A file may get another name between the listing of names and the reading of sizes.
        let sizes = files(master.dir()).into_values().filter_map(|path| path.metadata().ok()).map(|found| found.len());
        let sizes: Vec<_> = sizes.collect();
        assert!(sizes.len() <= 3 && sizes.iter().all(|&size| size <= MAX), "{sizes:?}");
        are_accounted(&master, 2 * FLOOD)
    });
    eventually_eq!(files(master.dir()).into_keys().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn renamed_or_deleted_file_is_made_again() {
    let script = demo_after("(while :; do echo tick; sleep 0.02; done) &");
    let master = logging(&["-i", "1"], &script).start_ready();
    let path = master.dir().join("app.log");
    wait_until("lines", || path.metadata().is_ok_and(|found| found.len() > 0));
    let aside = master.dir().join("by-logrotate");
    std::fs::rename(&path, &aside).unwrap();
    wait_until("lines in another file", || path.metadata().is_ok_and(|found| found.len() > 0));
    let last = std::fs::read_to_string(&aside).unwrap();
    assert!(last.ends_with(" | tick\n"), "{last}");
    std::fs::remove_file(&path).unwrap();
    wait_until("lines in a third one", || path.metadata().is_ok_and(|found| found.len() > 0));
    assert!(std::fs::read_to_string(&path).unwrap().ends_with(" | tick\n"));
}

#[test]
fn log_that_is_no_regular_file_fails_the_start() {
    let table: [(&str, &[&str], &str); 5] = [
        ("app.log", &["ln", "-s", "/etc/hostname", "app.log"], "it is a symbolic link, not a regular file"),
        ("app.log", &["mkfifo", "app.log"], "it is a FIFO, not a regular file"),
        ("app.log", &["mkdir", "app.log"], "it is a folder, not a regular file"),
        ("/dev/full", &["true"], "it is a device, not a regular file"),
        ("none/app.log", &["true"], "its folder none cannot be written: No such file or directory"),
    ];
    for (path, before, cause) in table {
        let to = format!("pool.app.log.to={path}");
        let setup = Setup::app(&["--set", &to], &shell("touch started; sleep 600"));
        let started = setup.dir().join("started");
        assert!(Command::new(before[0]).args(&before[1..]).current_dir(setup.dir()).status().unwrap().success());
        let ended = setup.run_to_end();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let error = format!("error: cannot open the log of pool `app`: {path}\ncause: {cause}");
        assert!(ended.stderr.contains(&error), "{}", ended.stderr);
        assert!(!started.exists());
    }
}

#[test]
fn log_off_still_counts_lines_and_keeps_the_last_ones() {
    let script = demo_after("echo nobody writes this down");
    let mut master = Setup::app(&["-i", "1", "--set", "pool.app.log.to=off"], &shell(&script)).start_ready();
    master.kill_worker(0);
    wait_until("its story", || {
        master.worker(0).last_exit.is_some_and(|exit| exit.last_lines.contains(&"nobody writes this down".to_owned()))
    });
    // Each process also says where it listens.
    wait_until("four lines", || master.metric("roundelay_log_lines_total", &[]) == 4.0);
    master.signal("TERM");
    master.wait_end();
    assert!(!master.log().contains("| nobody writes this down"));
}

/// Enough to fill the queue: a worker writes more than 8 MiB here.
const MUCH: usize = 200_000;

fn much() -> String {
    let line = "line %.0f, and some more text so that not all of these lines can wait at once";
    demo_after(&format!("(until test -e go; do sleep 0.02; done; seq -f '{line}' 1 {MUCH}; touch through) &"))
}

/// Checks the time in which nothing can be written: the worker goes on, clients are served, and lines are dropped
/// rather than kept.
fn stays_up(master: &Master) {
    master.touch("go");
    wait_until("the worker to get through", || master.dir().join("through").exists());
    assert_eq!(burst(master.address(), "/", 50).failed, [""; 0]);
    master.wait_log("cannot write the workers' log");
    wait_until("lines to be dropped", || dropped(master, &[]) > 0.0);
    eventually_eq!(master.pids().len(), 1);
}

/// Checks the time after it: waiting lines are written, every line once, and the log says how many were lost.
fn is_complete(master: &Master, read: impl Fn() -> String) {
    master.wait_log("the workers' log is written again");
    let number = |line: &str| line.split_once(" | line ")?.1.split_once(", and ")?.0.parse::<usize>().ok();
    wait_until("every line to be accounted for", || are_accounted(master, MUCH));
    let (text, dropped) = (read(), dropped(master, &[]));
    let numbers: Vec<_> = text.lines().filter_map(number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "whole lines, each at most once");
    assert_eq!(numbers.len() as f64 + dropped, MUCH as f64, "{dropped} dropped");
    let log = master.log();
    assert_eq!(log.matches("cannot write the workers' log").count(), 1, "said once");
    assert!(log.contains(&format!("lost={dropped}")), "{dropped}: {log}");
}

#[test]
fn file_size_limit_ends_no_master_and_lines_are_written_later() {
    if !has("prlimit") {
        return;
    }
    let master = logging(&["-i", "1"], &much()).through(&["prlimit", "--fsize=65536:unlimited"]).start_ready();
    stays_up(&master);
    let pid = master.pid().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().unwrap();
    if !raised.success() {
        missing("the right to raise a limit");
        return;
    }
    is_complete(&master, || text(master.dir()));
}

#[test]
fn full_disk_blocks_no_worker_and_lines_are_written_later() {
    let mount = "mount -t tmpfs -o size=32m,mode=755 none full";
    let can_mount = || {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("full")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", mount]).current_dir(dir.path()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !can_mount() {
        missing("the right to mount a file system");
        return;
    }
    let setup = Setup::app(&["-i", "1", "--set", "pool.app.log.to=full/app.log"], &shell(&much()));
    std::fs::create_dir(setup.dir().join("full")).unwrap();
    let script = format!("{mount} && exec \"$0\" \"$@\"");
    let master = setup.through(&["unshare", "-m", "sh", "-c", &script]).start_ready();
    // Only the master sees the mount; `/proc/PID/root` of the master shows it to the test.
    let root = PathBuf::from(format!("/proc/{}/root", master.pid()));
    let full = root.join(master.dir().join("full").strip_prefix("/").unwrap());
    let filler = full.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    stays_up(&master);
    std::fs::remove_file(filler).unwrap();
    drop(file);
    is_complete(&master, || text(&full));
}

#[test]
fn unread_output_of_one_pool_does_not_delay_anothers_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = r#"
[pool.loud]
command = ["sh", "-c", "yes 'a line that nobody reads' | head -c 16777216; touch through; exec 'BINARY' demo-worker"]
listen = "127.0.0.1:0"
workers = 1
[pool.app]
command = ["sh", "-c", "until test -e through; do sleep 0.02; done; seq 1 1000; exec 'BINARY' demo-worker"]
listen = "127.0.0.1:0"
workers = 1
log.to = "app.log"
"#;
    std::fs::write(dir.path().join("r.toml"), config.replace("BINARY", BINARY)).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["run", "-c", "r.toml", "--admin", "off", "--control", "c"]).current_dir(dir.path());
    // Its standard output is a pipe that no process reads.
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut child = crate::kit::Started(child);
    wait_until("the other pool's lines", || text(dir.path()).lines().count() >= 1000);
    crate::kit::kill(i64::from(child.0.id()), "TERM");
    let status = crate::kit::wait_for("its end", || child.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}
