//! Finds programs that were handed listening sockets but wait only at their own.
//!
//! A program that does not know socket activation still holds the sockets that it was handed, and may report that it is
//! ready. Example: redis with `--supervised systemd` reports ready and serves its own port. The event loop tells the
//! two apart: the kernel lists the members of an epoll in `/proc/PID/fdinfo`, by inode (proc(5)). A program that waits
//! in another way (in a blocking accept, in poll or select, with io_uring) shows nothing there, and its report is
//! believed.

use std::collections::HashSet;
use std::net::SocketAddr;

use procfs::process::{FDTarget, Process};

use super::accept_queue::all_tcp_listeners;
use super::inspect;

/// The TCP addresses at which processes of the group `pgid` wait for connections, if they wait only at listeners of
/// their own. None if they also wait on one of the `public` ports, if they wait at no listener, or if nothing can be
/// read about it.
///
/// Costs one pass over `/proc` and the descriptors of the group: call it when a worker starts, not in a loop.
pub fn serves_only_its_own(pgid: u32, public: &HashSet<u16>) -> Option<Vec<SocketAddr>> {
    let listeners = all_tcp_listeners().ok()?;
    let mut watched = HashSet::new();
    for (process, _) in inspect::group(pgid) {
        watched.extend(watched_inodes(&process));
    }
    let waited_at = listeners.into_iter().filter(|(_, inode)| watched.contains(inode));
    let (handed, mut own): (Vec<_>, Vec<_>) =
        waited_at.map(|(address, _)| address).partition(|address| public.contains(&address.port()));
    own.sort();
    own.dedup();
    (handed.is_empty() && !own.is_empty()).then_some(own)
}

/// The inodes of all that the epolls of a process watch.
fn watched_inodes(process: &Process) -> Vec<u64> {
    let descriptors = process.fd().into_iter().flatten().flatten();
    let is_epoll = |target: &FDTarget| matches!(target, FDTarget::AnonInode(kind) if kind.contains("eventpoll"));
    let epolls = descriptors.filter(|descriptor| is_epoll(&descriptor.target));
    let infos =
        epolls.filter_map(|epoll| std::fs::read_to_string(format!("/proc/{}/fdinfo/{}", process.pid, epoll.fd)).ok());
    infos.flat_map(|info| info.lines().filter_map(inode).collect::<Vec<_>>()).collect()
}

/// The inode in a line such as `tfd: 8 events: 19 data: 8 pos:0 ino:3a5f sdev:8`, in which it is hexadecimal.
fn inode(line: &str) -> Option<u64> {
    let field = line.strip_prefix("tfd:")?.split_whitespace().find_map(|field| field.strip_prefix("ino:"))?;
    u64::from_str_radix(field, 16).ok()
}

/// Reads any text as the file of an epoll descriptor in `/proc/PID/fdinfo`.
#[cfg(feature = "fuzzing")]
pub fn fuzz(text: &str) {
    let _ = text.lines().filter_map(inode).count();
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::event::epoll;

    use super::*;

    #[test]
    fn line_of_an_epoll_names_the_inode() {
        assert_eq!(inode("tfd:        8 events:       19 data:                8  pos:0 ino:3a5f sdev:8"), Some(0x3a5f));
        assert_eq!(inode("flags:\t02"), None);
    }

    #[test]
    fn listener_in_an_epoll_is_waited_at() {
        let [own, handed] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        epoll::add(&epoll, &own, epoll::EventData::new_u64(1), epoll::EventFlags::IN).unwrap();
        let address = |listener: &TcpListener| listener.local_addr().unwrap();
        let group = rustix::process::getpgrp().as_raw_nonzero().get() as u32;
        let public = HashSet::from([address(&handed).port()]);
        let waits_at_own =
            || serves_only_its_own(group, &public).is_some_and(|own_ones| own_ones.contains(&address(&own)));
        assert!(waits_at_own(), "it holds the other one and does not wait there");
        epoll::add(&epoll, &handed, epoll::EventData::new_u64(2), epoll::EventFlags::IN).unwrap();
        assert!(!waits_at_own());
    }
}
