//! `docs/architecture.md` is true where a text can show it: its paths, its states, its words about *pure* files.

use roundelay::pool::SlotState;

use crate::tree;

const PAGE: &str = "docs/architecture.md";

/// The texts between backticks of a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// True for a text that names a file or a folder of the repository, such as `net/relay/` or `laws.rs`.
fn is_path(text: &str) -> bool {
    let is_plain = text.chars().all(|c| c.is_alphanumeric() || "_-./".contains(c));
    is_plain && !text.starts_with('/') && (text.contains('/') || text.ends_with(".rs"))
}

#[test]
fn paths_of_the_architecture_page_exist() {
    let mut faults = Vec::new();
    let mut checked = 0;
    for (number, line) in tree::file(PAGE).lines() {
        // In a row about a module, paths begin in its folder.
        let module = line.strip_prefix("| `").and_then(|row| row.split('`').next()).unwrap_or_default();
        let folders = [String::new(), "balancer/src/".to_owned(), format!("balancer/src/{module}")];
        for path in quoted(line).filter(|text| is_path(text)) {
            checked += 1;
            if !folders.iter().any(|folder| tree::root().join(folder).join(path).exists()) {
                faults.push(format!("{PAGE}:{number}: {path}"));
            }
        }
    }
    assert!(checked > 60, "only {checked} paths were found: the test does not read what it should");
    tree::assert_none(&faults, "these are not there");
}

#[test]
fn states_of_the_architecture_page_are_those_of_a_slot() {
    let page = tree::file(PAGE);
    let rows = page.lines().map(|(_, line)| line).skip_while(|line| *line != "## The states of one worker");
    let rows = rows.take_while(|line| !line.starts_with("A *slot*")).filter(|line| line.starts_with("| `"));
    let mut listed: Vec<&str> = rows.filter_map(|row| quoted(row).next()).collect();
    let mut states: Vec<&str> = SlotState::ALL.iter().map(|state| state.name()).collect();
    // It is beside the process that its slot shows.
    states.push(SlotState::Parked.name());
    listed.sort_unstable();
    states.sort_unstable();
    assert_eq!(listed, states);
}

#[test]
fn pure_files_read_no_clock_and_open_nothing() {
    const IMPURE: [&str; 14] = [
        "Instant::now",
        "SystemTime::now",
        "tokio::spawn",
        "thread::spawn",
        "spawn_blocking",
        "TcpStream",
        "TcpListener::bind",
        "UnixStream",
        "UnixListener",
        "UnixDatagram",
        "std::fs::",
        "fs::read",
        "env::var",
        "fastrand::u",
    ];
    let mut faults = Vec::new();
    let mut checked = 0;
    for file in tree::files(&["balancer/src"], &["rs"]) {
        let header = file.text.lines().take_while(|line| line.starts_with("//!"));
        // As in "Pure." and "Pure: time comes in as an argument".
        if file.is_test() || !header.flat_map(str::split_whitespace).any(|word| word.starts_with("Pure")) {
            continue;
        }
        checked += 1;
        let code = file.text.split_once("#[cfg(test)]").map_or(file.text.as_str(), |(code, _)| code);
        for (number, line) in code.lines().map(tree::code_of).enumerate() {
            if let Some(found) = IMPURE.iter().find(|call| line.contains(*call)) {
                faults.push(format!("{}:{}: {found}", file.path, number + 1));
            }
        }
    }
    assert!(checked > 40, "only {checked} pure files were found: the test does not read what it should");
    tree::assert_none(&faults, "a file that calls itself pure gets time, chance and files as arguments");
}
