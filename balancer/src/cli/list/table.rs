//! The table of `list`: no borders, heads in capitals, two spaces between columns, figures to the right. A figure that
//! is not measured is `-`, never 0. Colour only repeats what a word says.

use super::layout::{COLUMNS, Row, lay_out};
use crate::api::format::{bytes, duration, escape, failed_check, limited, note};
use crate::api::state::{OtherProcess, PoolEntry, State, WorkerEntry};

/// The heads. CPU is the time used so far: a percentage would need two samples.
const HEADS: [&str; COLUMNS] = ["POOL/WORKER", "STATE", "GEN", "PID", "UP", "CPU", "MEM", "CONN", "TOTAL", "RESTARTS"];

/// Returns the whole table with colours as escape sequences and a line feed at the end. On a terminal no line is wider
/// than its `width`.
pub(super) fn render(state: &State, width: Option<usize>) -> String {
    let mut rows = vec![Row { cells: HEADS.map(str::to_owned), note: String::new() }];
    for pool in &state.pools {
        rows.push(pool_row(pool));
        for worker in &pool.workers {
            rows.push(worker_row(pool, worker));
            rows.extend(worker.others().map(|other| other_row(pool, worker, other)));
        }
    }
    lay_out(&rows, width)
}

fn pool_row(pool: &PoolEntry) -> Row {
    let measured = |figure: fn(&WorkerEntry) -> Option<f64>| {
        let figures: Vec<f64> = pool.workers.iter().filter_map(figure).collect();
        (!figures.is_empty()).then(|| figures.iter().sum::<f64>())
    };
    let restarts: u64 = pool.workers.iter().map(|worker| worker.restarts).sum();
    let accepting = match pool.accept_state.as_str() {
        "hold" => Some("clients wait for a worker".to_owned()),
        "reject" => Some("clients are rejected".to_owned()),
        _ => None,
    };
    let operation = pool.operation.as_ref().map(|verb| format!("{} is under way", escape(verb)));
    let note = [operation, accepting, limited(pool)].into_iter().flatten().collect::<Vec<_>>().join("; ");
    Row {
        cells: [
            escape(&pool.name),
            escape(&pool.state),
            pool.generation.to_string(),
            format!("{}/{}", pool.workers_ready, pool.workers_desired),
            String::new(),
            figure(measured(|worker| worker.cpu_seconds).map(duration)),
            figure(measured(|worker| worker.memory_bytes.map(|bytes| bytes as f64)).map(|sum| bytes(sum as u64))),
            figure(pool.active.map(|n| n.to_string())),
            figure(pool.accepted.map(|n| n.to_string())),
            restarts.to_string(),
        ],
        note,
    }
}

fn worker_row(pool: &PoolEntry, worker: &WorkerEntry) -> Row {
    Row {
        cells: [
            format!("  {}/{}", escape(&pool.name), worker.slot),
            escape(&worker.state),
            worker.generation.to_string(),
            figure(worker.pid.map(|pid| pid.to_string())),
            figure(worker.up_seconds.map(duration)),
            figure(worker.cpu_seconds.map(duration)),
            figure(worker.memory_bytes.map(bytes)),
            figure(worker.active.map(|n| n.to_string())),
            figure(worker.connections.map(|n| n.to_string())),
            worker.restarts.to_string(),
        ],
        note: note(worker),
    }
}

/// Returns the row of a process beside the one that serves the slot.
fn other_row(pool: &PoolEntry, worker: &WorkerEntry, other: &OtherProcess) -> Row {
    let is_coming = other.state == "starting";
    let check = failed_check(other.last_check.as_ref()).filter(|_| is_coming);
    let note = [Some(if is_coming { "replacement" } else { "retiring" }.to_owned()), check];
    Row {
        cells: [
            format!("    {}/{}", escape(&pool.name), worker.slot),
            escape(&other.state),
            other.generation.to_string(),
            figure(other.pid.map(|pid| pid.to_string())),
            duration(other.up_seconds),
            figure(None),
            figure(None),
            figure(other.active.map(|n| n.to_string())),
            String::new(),
            String::new(),
        ],
        note: note.into_iter().flatten().collect::<Vec<_>>().join("; "),
    }
}

fn figure(figure: Option<String>) -> String {
    figure.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::state::{Check, Exit};

    fn worker(slot: u32, state: &str) -> WorkerEntry {
        WorkerEntry {
            slot,
            state: state.to_owned(),
            state_seconds: 192.4,
            generation: 1,
            pid: Some(40112),
            up_seconds: Some(192.4),
            endpoint: None,
            reason: None,
            status_text: None,
            backoff_seconds: None,
            restarts: 0,
            connections: Some(406),
            active: Some(7),
            waiting: Some(2),
            weight: Some(1.0),
            cpu_seconds: Some(20.5),
            memory_bytes: Some(61_865_984),
            open_files: None,
            max_open_files: None,
            last_exit: None,
            last_check: None,
            replacement: None,
            retiring: vec![],
        }
    }

    fn state(workers: Vec<WorkerEntry>) -> State {
        let ready = workers.iter().filter(|worker| worker.state == "ready").count();
        let pool = PoolEntry {
            name: "api".to_owned(),
            state: if ready == workers.len() { "ready" } else { "degraded" }.to_owned(),
            listen: vec![],
            mode: "proxy".to_owned(),
            strategy: "round-robin".to_owned(),
            generation: 1,
            workers_desired: u32::try_from(workers.len()).unwrap(),
            workers_ready: u32::try_from(ready).unwrap(),
            accept_state: "open".to_owned(),
            accepted: Some(812),
            active: Some(14),
            rejected: Some(0),
            limited_by: None,
            operation: None,
            last_report: None,
            workers,
        };
        State {
            schema: State::SCHEMA.to_owned(),
            version: "1.2.3".to_owned(),
            pid: 1,
            started: 0.0,
            is_ready: true,
            is_stopping: false,
            admin: None,
            pools: vec![pool],
        }
    }

    fn plain(state: &State) -> String {
        anstream::adapter::strip_str(&render(state, None)).to_string()
    }

    #[test]
    fn figures_align_and_trouble_has_a_note() {
        let failing = WorkerEntry {
            pid: None,
            up_seconds: None,
            cpu_seconds: None,
            memory_bytes: None,
            open_files: None,
            max_open_files: None,
            state_seconds: 0.5,
            backoff_seconds: Some(4.5),
            restarts: 12,
            active: Some(0),
            last_exit: Some(Exit {
                what: "exit code 3".into(),
                why: None,
                code: 3,
                ago_seconds: 65.0,
                last_lines: vec![],
            }),
            ..worker(1, "backoff")
        };
        let suspect = WorkerEntry {
            last_check: Some(Check {
                what: "tcp 127.0.0.1:20001: connection refused".into(),
                is_ok: false,
                took_seconds: 0.1,
                ago_seconds: 0.2,
            }),
            ..worker(10, "suspect")
        };
        let expected = "\
POOL/WORKER  STATE     GEN    PID     UP  CPU   MEM  CONN  TOTAL  RESTARTS
api          degraded    1    1/3         41s  118M    14    812        12
  api/0      ready       1  40112  3m12s  20s   59M     7    406         0
  api/1      backoff     1      -      -    -     -     0    406        12  next start in 4.0s; last exit: exit code 3, 1m05s ago
  api/10     suspect     1  40112  3m12s  20s   59M     7    406         0  check: tcp 127.0.0.1:20001: connection refused
";
        assert_eq!(plain(&state(vec![worker(0, "ready"), failing, suspect])), expected);
    }

    #[test]
    fn processes_that_come_and_leave_stand_below_their_worker() {
        let other = |state: &str, generation, pid, active| OtherProcess {
            state: state.to_owned(),
            generation,
            pid,
            up_seconds: 1.25,
            active,
            last_check: None,
        };
        let (replacement, retiring) =
            (Some(other("starting", 2, None, Some(0))), vec![other("draining", 1, Some(40100), Some(3))]);
        let mut state = state(vec![WorkerEntry { replacement, retiring, ..worker(0, "ready") }]);
        state.pools[0].operation = Some("reload".into());
        let expected = "\
POOL/WORKER  STATE     GEN    PID     UP  CPU  MEM  CONN  TOTAL  RESTARTS
api          ready       1    1/1         20s  59M    14    812         0  reload is under way
  api/0      ready       1  40112  3m12s  20s  59M     7    406         0
    api/0    starting    2      -   1.2s    -    -     0                   replacement
    api/0    draining    1  40100   1.2s    -    -     3                   retiring
";
        assert_eq!(plain(&state), expected);
    }

    #[test]
    fn colour_changes_no_letter() {
        let state = state(vec![worker(0, "ready")]);
        let coloured = render(&state, None);
        assert!(coloured.contains("\u{1b}["));
        assert_eq!(plain(&state).lines().count(), 3);
        assert!(!plain(&state).contains('\u{1b}'));
    }

    #[test]
    fn text_of_a_worker_cannot_control_the_terminal() {
        let loud = WorkerEntry { status_text: Some("\u{1b}]0;x\u{7}\r\nfake line".into()), ..worker(0, "ready") };
        let table = plain(&state(vec![loud]));
        assert_eq!(table.lines().count(), 3);
        assert!(table.contains(r"says: \u{1b}]0;x\u{7}\r\nfake line"), "{table}");
    }

    #[test]
    fn pool_that_refuses_clients_says_so() {
        let mut state = state(vec![worker(0, "failed")]);
        (state.pools[0].accept_state, state.pools[0].state) = ("reject".into(), "down".into());
        assert!(plain(&state).lines().nth(1).unwrap().starts_with("api          down"));
        assert!(plain(&state).contains("clients are rejected"));
    }

    /// Returns two pools with long texts everywhere: a name, a reason, a worker's status text, many workers.
    fn crowded(said: &str) -> State {
        let reason =
            "its check http://127.0.0.1:20001/healthz: 503 Service Unavailable, three times in a row".to_owned();
        let suspect = WorkerEntry { reason: Some(reason), status_text: Some(said.to_owned()), ..worker(11, "suspect") };
        let mut state = state((0..11).map(|slot| worker(slot, "ready")).chain([suspect]).collect());
        let long = PoolEntry { name: "payments-and-settlements-eu-west".into(), ..state.pools[0].clone() };
        state.pools[0].operation = Some("restart".into());
        state.pools.push(long);
        state
    }

    fn in_columns(state: &State, columns: usize) -> String {
        anstream::adapter::strip_str(&render(state, Some(columns))).to_string()
    }

    /// Returns the rows of the first pool and of its last worker.
    fn excerpt(table: &str) -> String {
        let lines: Vec<&str> = table.lines().collect();
        let second = lines.iter().position(|line| line.starts_with("payments")).unwrap();
        let last = lines.iter().position(|line| line.starts_with("  api/11") || line.starts_with("  a…/11")).unwrap();
        let lines = lines[..3].iter().chain(&lines[last..=second]);
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn terminal_of_80_columns_keeps_figures_and_whole_reason() {
        let expected = "\
POOL/WORKER                         STATE       PID     UP   MEM  CONN  RESTARTS
api                                 degraded  11/12         708M    14         0
      restart is under way
  api/11                            suspect   40112  3m12s   59M     7         0
      its check http://127.0.0.1:20001/healthz: 503 Service Unavailable, three
      times in a row; says: 数据库连接失败
payments-and-settlements-eu-west    degraded  11/12         708M    14         0
";
        let table = excerpt(&in_columns(&crowded("数据库连接失败"), 80));
        assert_eq!(table, expected);
    }

    #[test]
    fn narrow_terminal_keeps_names_states_and_reasons() {
        let expected = "\
POOL/WORKER              STATE       PID
api                      degraded  11/12
      restart is under way
  api/11                 suspect   40112
      its check
      http://127.0.0.1:20001/healthz:
      503 Service Unavailable, three
      times in a row; says: 数据库连接…
payments-and-settlemen…  degraded  11/12
";
        assert_eq!(excerpt(&in_columns(&crowded("数据库连接失败"), 40)), expected);
        let expected = "\
POOL/WORKER                     STATE       PID     UP  CONN
api                             degraded  11/12           14
      restart is under way
  api/11                        suspect   40112  3m12s     7
      its check http://127.0.0.1:20001/healthz: 503 Service
      Unavailable, three times in a row; says:
      数据库连接失败
payments-and-settlements-eu-w…  degraded  11/12           14
";
        assert_eq!(excerpt(&in_columns(&crowded("数据库连接失败"), 60)), expected);
    }

    #[test]
    fn wide_terminal_shows_what_a_pipe_gets() {
        let state = state(vec![worker(0, "ready"), worker(1, "suspect")]);
        assert_eq!(in_columns(&state, 200), plain(&state));
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(columns in 1usize..220, said in "(\\PC|[\t 数🦀\u{fe0f}]){0,60}") {
            let table = in_columns(&crowded(&said), columns);
            let widest = table.lines().map(super::super::fit::width).max().unwrap();
            prop_assert!(widest <= columns, "{widest} of {columns}:\n{table}");
            prop_assert!(!table.contains('\t'));
        }
    }
}
