//! A file within the bound of 1 MiB is checked in a time that grows with its length, not with its square.

use std::time::Duration;

use super::*;

/// The number of pools that fit into the bound with room to spare.
const POOLS: usize = 12_000;
/// Ten times the time on a slow machine. A version that compared every pool with every other took minutes.
const DEADLINE: Duration = Duration::from_secs(60);

/// Returns the lines of the pool of that number.
type Lines = fn(usize) -> String;

#[test]
fn twelve_thousand_pools_are_checked_within_the_deadline() {
    let kinds: [(&str, Lines); 5] = [
        ("address", |i| format!("listen = \"127.0.{}.{}:80\"", i / 250, i % 250 + 1)),
        ("same address", |_| "listen = \":80\"".to_owned()),
        ("log file", |i| format!("listen = \":{}\"\nlog.to = \"/l/{i}.log\"", i + 20_000)),
        ("unknown key", |i| format!("listen = \":{}\"\nlistn = 1", i + 20_000)),
        ("user", |i| format!("listen = \"unix:/a/{i}\"\nuser = \"root\"")),
    ];
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (kind, lines) in kinds {
            let text: String = (0..POOLS).map(|i| format!("[pool.p{i}]\ncommand = [\"x\"]\n{}\n", lines(i))).collect();
            assert!(text.len() < 1 << 20, "{kind}");
            let sources = Sources { accounts: Some(crate::os::account::identify), ..file(&text) };
            let errors =
                load(&sources).map_or_else(|problems| (problems.errors(), problems.to_string().len()), |_| (0, 0));
            let _ = done.send((kind, errors));
        }
    });
    let each = std::iter::from_fn(|| ended.recv_timeout(DEADLINE).ok());
    let errors: Vec<_> = each.map(|(kind, (errors, length))| (kind, errors, length < 100_000)).collect();
    let expected = [
        ("address", 0, true),
        ("same address", POOLS - 1, true),
        ("log file", 0, true),
        ("unknown key", POOLS, true),
        ("user", 0, true),
    ];
    assert_eq!(errors, expected);
}

#[test]
fn settings_of_unknown_pools_get_a_bounded_answer() {
    let text: String =
        (0..1000).map(|i| format!("[pool.p{i}]\ncommand = [\"x\"]\nlisten = \":{}\"\n", i + 1)).collect();
    let sets = (0..1000).map(|i| format!("pool.q{i}.workers=1")).collect();
    let problems = load(&Sources { sets, ..file(&text) }).unwrap_err();
    assert_eq!(problems.errors(), 1000);
    let said = problems.to_string();
    assert!(said.len() < 100_000 && said.contains("did you mean `p0`?"), "{said}");
    assert!(said.contains("and 990 more") && said.contains("1000 problems in all"), "{said}");
}
