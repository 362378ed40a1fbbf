//! Observations of running processes: the resources that a process group uses, the addresses it listens at, the process
//! that holds a port.
//!
//! Everything is read from `/proc`, except the listeners, which netlink reports. Processes that cannot be read (another
//! user's, or one that just ended) are skipped and never an error: these are observations for people, metrics and
//! hints. No connection waits for them.
//!
//! Cost: one pass over `/proc` is a handful of calls for every process of the machine, measured at about 5 µs each;
//! reading the open descriptors of a process is three calls for each descriptor. So ask for all groups at once, and
//! never while a connection waits.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use procfs::process::{FDTarget, LimitValue, Process, Stat};

use super::accept_queue::{QueueReader, ServerSide, all_tcp_listeners};

/// The resources that the processes of a group use together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// The number of processes found; 0 if the group is gone.
    pub processes: u64,
    /// User and system time of them and of the children they have waited for, in steps of a clock tick (10 ms).
    pub cpu_seconds: f64,
    /// Resident memory. Pages that processes share are counted in each.
    pub resident_bytes: u64,
    /// Open descriptors of those processes whose descriptors we may read.
    pub open_fds: u64,
    /// The open files of the process that has the fewest left, among those with many open.
    pub fullest: Option<OpenFiles>,
    /// The number of threads.
    pub threads: u64,
    /// Processes that are stopped: by SIGSTOP, at a terminal or with a debugger.
    pub stopped: u64,
    /// Processes that run, or would run if a CPU were free: on a busy machine a runnable process does not always use a
    /// CPU.
    pub runnable: u64,
    /// True if all processes are stopped and a debugger holds one. Looked up only if all are stopped.
    pub is_traced: bool,
}

/// The limit is read only for a process with this many open descriptors, since that reads one more file.
const MANY: u64 = 30;
/// The number of descriptors that a program may keep in reserve for the moment when no other is free, as libuv does.
const KEPT_FREE: u64 = 2;

/// The number of descriptors that a process has open, and its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The descriptors that are open now.
    pub open: u64,
    /// Its soft limit.
    pub limit: u64,
}

impl OpenFiles {
    /// Returns true if the process cannot open more descriptors, or no more than some programs keep in reserve.
    pub fn are_used_up(self) -> bool {
        self.open.saturating_add(KEPT_FREE) >= self.limit
    }

    fn left(self) -> u64 {
        self.limit.saturating_sub(self.open)
    }

    /// The open files of a process that has many open; `None` for others.
    fn of(process: &Process, open: u64) -> Option<Self> {
        let limit = (open >= MANY).then(|| process.limits().ok()).flatten()?.max_open_files.soft_limit;
        match limit {
            LimitValue::Value(limit) => Some(Self { open, limit }),
            LimitValue::Unlimited => None,
        }
    }
}

/// The process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process; if several share the socket, the one with the smallest pid.
    pub pid: u32,
    /// Its name, as the kernel keeps it: up to 15 bytes, chosen by the program.
    pub name: String,
}

/// The usage of each of `groups`, in one pass over `/proc`. A group without a process has no entry.
pub fn usage_by_group(groups: &HashSet<u32>) -> HashMap<u32, Usage> {
    let mut usages: HashMap<u32, Usage> = HashMap::new();
    if groups.is_empty() {
        return usages;
    }
    for (process, stat) in processes() {
        let Some(group) = u32::try_from(stat.pgrp).ok().filter(|group| groups.contains(group)) else { continue };
        let usage = usages.entry(group).or_default();
        usage.processes += 1;
        usage.cpu_seconds += cpu_seconds(&stat);
        usage.resident_bytes += stat.rss * procfs::page_size();
        usage.runnable += u64::from(stat.state == 'R');
        usage.stopped += u64::from(matches!(stat.state, 'T' | 't'));
        usage.threads += u64::try_from(stat.num_threads).unwrap_or(0);
        let open = process.fd_count().map_or(0, |count| count as u64);
        usage.open_fds += open;
        usage.fullest = usage.fullest.into_iter().chain(OpenFiles::of(&process, open)).min_by_key(|one| one.left());
    }
    for (&group, usage) in usages.iter_mut().filter(|(_, usage)| usage.stopped == usage.processes) {
        usage.is_traced = is_traced(group);
    }
    usages
}

/// The usage of the group `pgid`; all zero if it is gone. One pass over `/proc`: for several groups, see
/// [`usage_by_group`].
pub fn group_usage(pgid: u32) -> Usage {
    usage_by_group(&HashSet::from([pgid])).remove(&pgid).unwrap_or_default()
}

/// The TCP addresses on which processes of the group `pgid` listen, in order. One pass over `/proc`, the descriptors of the
/// group and the socket tables.
pub fn group_listeners(pgid: u32) -> Vec<SocketAddr> {
    let mut held = HashSet::new();
    for (process, _) in group(pgid) {
        held.extend(sockets(&process));
    }
    if held.is_empty() {
        return Vec::new();
    }
    let mine = listening().into_iter().filter(|(_, inode)| held.contains(inode));
    let mut addresses: Vec<_> = mine.map(|(address, _)| address).collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// Returns true if the process is stopped: by SIGSTOP, at a terminal or with a debugger. Reads one file.
pub fn is_stopped(pid: u32) -> bool {
    let stat = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()?.stat().ok());
    stat.is_some_and(|stat| matches!(stat.state, 'T' | 't'))
}

/// The connections to one of `ports` whose server's side a process of each group holds. One pass over `/proc`, the
/// descriptors of the groups and the kernel's list of connections.
///
/// # Errors
///
/// The kernel's list cannot be read.
pub fn connections_by_group(groups: &HashSet<u32>, ports: &HashSet<u16>) -> io::Result<HashMap<u32, Vec<ServerSide>>> {
    let mut reader = QueueReader::new()?;
    let mut sides: HashMap<u64, ServerSide> = HashMap::new();
    for port in ports {
        let taken = reader.tcp_connections_of_port(*port)?.into_iter();
        sides.extend(taken.filter_map(|side| Some((side.inode?, side))));
    }
    let mut found: HashMap<u32, Vec<ServerSide>> = groups.iter().map(|&group| (group, Vec::new())).collect();
    for (process, stat) in processes() {
        let Some(held) = u32::try_from(stat.pgrp).ok().and_then(|group| found.get_mut(&group)) else { continue };
        held.extend(sockets(&process).filter_map(|inode| sides.remove(&inode)));
    }
    Ok(found)
}

/// Finds the process that listens at `address` or at a wildcard that includes it, if we may read that process's
/// descriptors.
///
/// The most expensive function here: it reads the descriptors of every process. Use it for an error message, not in a
/// loop.
pub fn port_holder(address: SocketAddr) -> Option<Holder> {
    let overlapping = listening().into_iter().filter(|(bound, _)| overlaps(*bound, address));
    let inodes: HashSet<u64> = overlapping.map(|(_, inode)| inode).collect();
    if inodes.is_empty() {
        return None;
    }
    let holds = |process: &Process| sockets(process).any(|inode| inodes.contains(&inode));
    let holders = processes().filter(|(process, _)| holds(process));
    let (_, stat) = holders.min_by_key(|(_, stat)| stat.pid)?;
    Some(Holder { pid: u32::try_from(stat.pid).ok()?, name: stat.comm })
}

/// Returns true if a debugger is attached to a thread of the group `pgid`. Such a worker is not hung: a person debugs
/// it.
pub fn is_traced(pgid: u32) -> bool {
    group(pgid).any(|(process, _)| {
        let mut threads = process.tasks().into_iter().flatten().flatten();
        threads.any(|thread| thread.status().is_ok_and(|status| status.tracerpid != 0))
    })
}

/// User and system time of a process and of the children it has waited for. Without the children's time, a group's time
/// would fall when one of its processes ends.
pub(crate) fn cpu_seconds(stat: &Stat) -> f64 {
    let waited = u64::try_from(stat.cutime).unwrap_or(0) + u64::try_from(stat.cstime).unwrap_or(0);
    (stat.utime + stat.stime + waited) as f64 / procfs::ticks_per_second().max(1) as f64
}

/// Every process of the machine that can be read now; one descriptor is open at a time.
pub(super) fn processes() -> impl Iterator<Item = (Process, Stat)> {
    let all = procfs::process::all_processes().into_iter().flatten().flatten();
    all.filter_map(|process| process.stat().ok().map(|stat| (process, stat)))
}

/// The living processes of a group.
pub(super) fn group(pgid: u32) -> impl Iterator<Item = (Process, Stat)> {
    processes().filter(move |(_, stat)| u32::try_from(stat.pgrp) == Ok(pgid) && stat.state != 'Z')
}

/// The inodes of the sockets that a process holds.
pub(super) fn sockets(process: &Process) -> impl Iterator<Item = u64> {
    let descriptors = process.fd().into_iter().flatten().flatten();
    descriptors.filter_map(|descriptor| match descriptor.target {
        FDTarget::Socket(inode) => Some(inode),
        _ => None,
    })
}

/// The listening TCP sockets of our network namespace, with their inodes; none where the kernel does not report them.
fn listening() -> Vec<(SocketAddr, u64)> {
    all_tcp_listeners().unwrap_or_default()
}

/// Returns true if a listener at `bound` keeps another one from binding `wanted`.
fn overlaps(bound: SocketAddr, wanted: SocketAddr) -> bool {
    let (held, asked) = (bound.ip().to_canonical(), wanted.ip().to_canonical());
    // The IPv6 wildcard takes IPv4 too, unless IPV6_V6ONLY is set, which the table does not show.
    let covers = |wildcard: IpAddr, other: IpAddr| match wildcard {
        IpAddr::V4(address) => address == Ipv4Addr::UNSPECIFIED && other.is_ipv4(),
        IpAddr::V6(address) => address.is_unspecified(),
    };
    bound.port() == wanted.port() && (held == asked || covers(held, asked) || covers(asked, held))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::Child;

    use roundelay_test_kit::wait_until;
    use rustix::process::Signal;

    use super::*;
    use crate::os::child_group::ChildGroup;

    #[test]
    fn group_usage_is_the_sum_of_its_processes() {
        let group = ChildGroup::shell("sleep 600 & while :; do :; done");
        wait_until("two processes and some CPU time", || {
            let usage = group_usage(group.id());
            usage.processes == 2 && usage.threads == 2 && usage.cpu_seconds > 0.0
        });
        let usage = group_usage(group.id());
        assert!(usage.resident_bytes > 0 && usage.open_fds >= 4, "{usage:?}");
        let both = HashSet::from([group.id(), rustix::process::getpgrp().as_raw_nonzero().get() as u32]);
        assert_eq!(usage_by_group(&both).len(), 2);
    }

    #[test]
    fn ended_group_uses_nothing() {
        let id = ChildGroup::shell("exec sleep 600").id();
        assert_eq!(group_usage(id), Usage::default());
        assert!(group_listeners(id).is_empty() && !is_traced(id));
    }

    #[test]
    fn debugger_is_detected_and_stop_signal_is_not() {
        let group = ChildGroup::shell("exec sleep 600");
        group.signal(Signal::STOP);
        wait_until("stopped", || super::group(group.id()).any(|(_, stat)| stat.state == 'T'));
        assert!(!is_traced(group.id()));
        if let Err(error) = seize(&group.0) {
            assert!(
                std::env::var_os("ROUNDELAY_REQUIRE_ALL").is_none_or(|all| all != "1"),
                "ptrace is required: {error}"
            );
            println!("skipped: needs ptrace");
            return;
        }
        assert!(is_traced(group.id()));
    }

    /// Attaches this thread as a debugger; the end of the thread detaches it.
    fn seize(child: &Child) -> nix::Result<()> {
        use nix::sys::ptrace;
        ptrace::seize(nix::unistd::Pid::from_raw(child.id() as libc::pid_t), ptrace::Options::empty())
    }

    #[test]
    fn listeners_of_our_own_group_are_found_in_both_families() {
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(TcpListener::bind);
        let group = rustix::process::getpgrp().as_raw_nonzero().get() as u32;
        let found = group_listeners(group);
        for listener in listeners.into_iter().flatten() {
            let address = listener.local_addr().unwrap();
            assert!(found.contains(&address), "{address} is not in {found:?}");
        }
    }

    #[test]
    fn port_holder_is_named_also_for_wildcard() {
        let exact = TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = port_holder(exact.local_addr().unwrap()).expect("we hold it");
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.name.is_empty());

        let wildcard = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = wildcard.local_addr().unwrap().port();
        assert_eq!(port_holder(SocketAddr::from(([127, 0, 0, 1], port))).map(|holder| holder.pid), Some(holder.pid));
        drop(wildcard);
        // A child that another test is forking now may hold a copy until it execs.
        wait_until("free again", || port_holder(SocketAddr::from(([127, 0, 0, 1], port))).is_none());
    }

    #[test]
    fn wildcards_overlap_with_what_they_include() {
        let overlap = |a: &str, b: &str| overlaps(a.parse().unwrap(), b.parse().unwrap());
        assert!(overlap("0.0.0.0:80", "127.0.0.1:80") && overlap("127.0.0.1:80", "0.0.0.0:80"));
        assert!(overlap("[::]:80", "127.0.0.1:80") && overlap("[::]:80", "[::1]:80"));
        assert!(overlap("[::ffff:127.0.0.1]:80", "127.0.0.1:80"));
        assert!(!overlap("0.0.0.0:80", "127.0.0.1:81") && !overlap("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!overlap("0.0.0.0:80", "[::1]:80"));
    }
}
