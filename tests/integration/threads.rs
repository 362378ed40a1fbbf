//! The threads of a running master are those that `docs/architecture.md` lists.

use std::collections::BTreeSet;

use crate::kit::{Setup, burst, demo_after, run_command, shell, threads, wait_until};

/// A row of the page's table of threads.
struct Row {
    /// The names as `/proc` shows them.
    names: Vec<String>,
    /// True if the threads of the row come and go.
    is_temporary: bool,
}

fn table() -> Vec<Row> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/architecture.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().skip_while(|line| *line != "## Threads and processes");
    let rows = rows.skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = rows
        .map(|row| {
            let cell = row.split('|').nth(1).unwrap();
            let names = cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            Row { names, is_temporary: cell.contains("for a while") }
        })
        .collect();
    assert!(rows.len() > 6, "the table of threads was not found");
    rows
}

/// The names of a master's threads; all `data-N` are one.
fn seen(master: u32) -> BTreeSet<String> {
    threads(master).into_iter().map(|name| if name.starts_with("data-") { "data-0".into() } else { name }).collect()
}

#[test]
fn master_threads_are_those_of_the_architecture_page() {
    let table = table();
    let names = |is_meant: fn(&Row) -> bool| -> BTreeSet<String> {
        let rows = table.iter().filter(|row| is_meant(row));
        rows.flat_map(|row| &row.names).filter(|name| *name != "data-1").cloned().collect()
    };
    let (all, permanent) = (names(|_| true), names(|row| !row.is_temporary));
    // A log file of its own has a thread of its own.
    let flags = ["-i", "2", "--set", "master.threads=2", "--set", "pool.app.log.to=app.log"];
    let master = Setup::app(&flags, &shell(&demo_after(""))).start_ready();
    let mut came = BTreeSet::new();
    for step in ["start", "load", "reload"] {
        match step {
            "load" => assert_eq!(burst(master.address(), "/", 100).failed, [""; 0]),
            "reload" => assert_eq!(run_command(&master, &["reload"]).code, Some(0)),
            _ => {}
        }
        wait_until("all permanent threads", || {
            let now = seen(master.pid());
            came.extend(now.iter().cloned());
            permanent.is_subset(&now)
        });
    }
    let unlisted: Vec<_> = came.difference(&all).collect();
    assert!(unlisted.is_empty(), "docs/architecture.md does not list {unlisted:?}");
}
