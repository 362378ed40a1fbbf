//! The test's own process, and shells that are busy or sleep.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use roundelay_test_kit::wait_until;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::time::{ClockId, clock_gettime};

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A shell in a group of its own, which is killed when this is dropped.
struct Shell(Child);

impl Shell {
    fn run(script: &str) -> Self {
        let mut command = Command::new("sh");
        Self(command.args(["-c", script]).stdin(Stdio::null()).process_group(0).spawn().unwrap())
    }

    fn busy() -> Self {
        Self::run("while :; do :; done")
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

fn reading(whole: u64, threads: &[(i32, u64)]) -> Reading {
    Reading { born: 1, whole: ms(whole), threads: threads.iter().map(|(id, used)| (*id, ms(*used))).collect() }
}

#[test]
fn threads_that_end_are_not_lost() {
    let mut known = Known::default();
    known.learn(&reading(0, &[(1, 7)]));
    assert_eq!(known.total(), ms(7), "finer than ticks");
    known.learn(&reading(20, &[(1, 9), (2, 15)]));
    assert_eq!(known.total(), ms(24));
    known.learn(&reading(20, &[(1, 10)]));
    assert_eq!(known.total(), ms(25), "the second has ended, and had used 15");
    known.learn(&reading(90, &[(1, 12)]));
    assert_eq!(known.total(), ms(90), "others lived between two looks");
    known.learn(&reading(90, &[(1, 14)]));
    assert_eq!(known.total(), ms(92), "and it stays as fine as before");
    known.learn(&reading(0, &[]));
    assert_eq!(known.total(), ms(92));
}

#[test]
fn time_of_an_ended_thread_is_part_of_its_process() {
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let before = cpu(std::process::id()).unwrap();
    std::thread::spawn(move || while used() < ms(100) {}).join().unwrap();
    let now = cpu(std::process::id()).unwrap();
    // Two roundings of a tick each: before, and now.
    assert!(now >= before + ms(60), "{before:?}, {now:?}");
}

#[test]
fn meter_counts_old_processes_from_first_look_new_from_birth() {
    let old = Shell::busy();
    wait_until("use of a processor", || cpu(old.pid()).unwrap() >= ms(50));
    let mut meter = CpuMeter::new();
    meter.look(&[("old", old.pid())]);
    assert_eq!(meter.seconds(), BTreeMap::from([("old".to_owned(), 0.0)]));
    let new = Shell::busy();
    wait_until("use of a processor", || cpu(new.pid()).unwrap() >= ms(50));
    meter.look(&[("old", old.pid()), ("new", new.pid())]);
    assert!(meter.seconds()["new"] >= 0.05, "{:?}", meter.seconds());
    wait_until("more of the old one", || {
        meter.look(&[("old", old.pid())]);
        meter.seconds()["old"] >= 0.05
    });
}

#[test]
fn ended_process_keeps_its_time_and_replacement_adds() {
    let mut meter = CpuMeter::new();
    meter.look::<&str>(&[]);
    let first = Shell::busy();
    wait_until("use of a processor", || {
        meter.look(&[("demo/1", first.pid())]);
        meter.seconds()["demo/1"] >= 0.05
    });
    let pid = first.pid();
    drop(first);
    assert_eq!((cpu(pid), memory(pid)), (None, None));
    let replacement = Shell::busy();
    let before = meter.seconds()["demo/1"];
    wait_until("use of a processor by the replacement", || {
        meter.look(&[("demo/1", pid), ("demo/1", replacement.pid())]);
        meter.seconds()["demo/1"] >= before + 0.05
    });
}

#[test]
fn children_and_their_children_are_found() {
    let shell = Shell::run("sh -c 'sleep 1000; :' & sleep 1000 & wait");
    wait_until("three descendants", || descendants(shell.pid()).len() == 3);
    let parents = all_parents();
    let mut by_parents = children_among(shell.pid(), &parents);
    assert_eq!(by_parents.len(), 2);
    let further: Vec<_> = by_parents.iter().flat_map(|child| children_among(*child, &parents)).collect();
    by_parents.extend(further);
    by_parents.sort_unstable();
    let mut all = descendants(shell.pid());
    all.sort_unstable();
    assert_eq!(all, by_parents, "both ways agree");
    assert!(descendants(std::process::id()).contains(&shell.pid()));
}

#[test]
fn memory_that_is_used_is_seen() {
    let block = vec![1_u8; 64 << 20];
    let seen = memory(std::process::id()).unwrap();
    assert!(seen >= block.len() as u64, "{seen}");
}
