//! The metrics of the master itself.

use procfs::process::{LimitValue, Process};

use super::Scrape;
use crate::admin::context::Source;
use crate::admin::snapshot::unix_seconds;
use crate::stats::catalog;

pub(super) fn collect(source: &Source, scrape: &mut Scrape) {
    let master = &source.master;
    scrape.count(&catalog::BUILD_INFO, &[&master.version], 1);
    scrape.set(&catalog::START_TIME, &[], unix_seconds(master.started));
    for (route, code, count) in source.requests.iter() {
        scrape.count(&catalog::ADMIN_REQUESTS, &[route.name(), &code.to_string()], count);
    }

    // `prometheus` has a collector for these, but it counts CPU time in whole seconds.
    let process = own_process(unix_seconds(master.started));
    scrape.set(&catalog::PROCESS_CPU, &[], process.cpu_seconds);
    scrape.set(&catalog::PROCESS_START_TIME, &[], process.started);
    scrape.count(&catalog::PROCESS_MEMORY, &[], process.resident_bytes);
    scrape.count(&catalog::PROCESS_VIRTUAL_MEMORY, &[], process.virtual_bytes);
    scrape.count(&catalog::PROCESS_OPEN_FDS, &[], process.open_fds);
    scrape.count(&catalog::PROCESS_MAX_FDS, &[], process.max_fds);
    scrape.count(&catalog::PROCESS_THREADS, &[], process.threads);
}

#[derive(Default)]
struct MasterMetrics {
    cpu_seconds: f64,
    started: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    open_fds: u64,
    max_fds: u64,
    threads: u64,
}

/// Reads the figures of the master's own process. A figure that cannot be read is 0; the start time falls back to
/// `started`.
fn own_process(started: f64) -> MasterMetrics {
    let Ok((process, stat)) = Process::myself().and_then(|process| process.stat().map(|stat| (process, stat))) else {
        return MasterMetrics { started, ..MasterMetrics::default() };
    };
    let ticks = procfs::ticks_per_second().max(1) as f64;
    let max_fds = process.limits().map(|limits| limits.max_open_files.soft_limit);
    MasterMetrics {
        // Only this process: the CPU time of its children is counted with the workers.
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
        started: procfs::boot_time_secs().map_or(started, |boot| boot as f64 + stat.starttime as f64 / ticks),
        resident_bytes: stat.rss * procfs::page_size(),
        virtual_bytes: stat.vsize,
        open_fds: process.fd_count().map_or(0, |count| count as u64),
        max_fds: max_fds.map_or(0, |limit| match limit {
            LimitValue::Value(limit) => limit,
            LimitValue::Unlimited => u64::MAX,
        }),
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
    }
}
