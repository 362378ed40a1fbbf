//! A module uses what stands above it in the map at the head of `balancer/src/lib.rs`, and its own folder.

use std::collections::HashMap;

use crate::tree::{self, SourceFile};

/// The modules in the order of the map of `lib.rs`: its rows begin with ``//! | [`name`] |``.
fn map_of_lib() -> Vec<String> {
    let lib = tree::file("balancer/src/lib.rs");
    let rows = lib.lines().filter_map(|(_, line)| line.strip_prefix("//! | [`"));
    rows.filter_map(|row| row.split_once("`] |")).map(|(name, _)| name.to_owned()).collect()
}

/// The modules in the order of the map of `docs/architecture.md`: its rows begin with ``| `name/` |`` or ``| `name.rs` |``.
fn map_of_architecture() -> Vec<String> {
    let page = tree::file("docs/architecture.md");
    let rows = page.lines().skip_while(|(_, line)| !line.starts_with("| `balancer/src/` |")).skip(2);
    let rows = rows.take_while(|(_, line)| line.starts_with('|')).map(|(_, line)| line);
    let names = rows.filter_map(|row| row.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name);
    names.map(|name| name.trim_end_matches('/').trim_end_matches(".rs").to_owned()).collect()
}

/// The top-level modules that a line of code names by `crate::`, as `crate::net::...` or `crate::{net, os::...}`.
fn named_modules(code: &str) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(rest.chars().take_while(|&c| is_name(c)).collect()),
            Some(list) => {
                // Only the names at the list's own depth are modules of the crate.
                let mut depth = 0;
                let mut name = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => found.push(std::mem::take(&mut name)),
                        c if depth == 0 && !c.is_whitespace() => name.push(c),
                        _ => {}
                    }
                }
                found.push(name);
            }
        }
    }
    found.into_iter().map(|path| path.chars().take_while(|&c| is_name(c)).collect()).collect()
}

/// The code of a file: without comments and strings, and without the test module at its end.
fn code(file: &SourceFile) -> String {
    let body = file.text.split_once("#[cfg(test)]\nmod tests {").map_or(file.text.as_str(), |(body, _)| body);
    body.lines().map(tree::code_of).collect::<Vec<_>>().join("\n")
}

/// The files that only a build of the tests has: their `mod` line stands behind `#[cfg(test)]`.
fn test_files(files: &[SourceFile]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let folder = file.path.trim_end_matches(".rs").trim_end_matches("/mod").trim_end_matches("/lib");
        for rest in file.text.split("#[cfg(test)]\nmod ").skip(1) {
            if let Some((name, _)) = rest.split_once(';').filter(|(name, _)| !name.contains('\n')) {
                found.push(format!("{folder}/{name}.rs"));
            }
        }
    }
    found
}

#[test]
fn module_uses_only_what_stands_above_it() {
    let map = map_of_lib();
    let rank: HashMap<&str, usize> = map.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let mut faults = Vec::new();
    let mut checked = 0;
    let files = tree::files(&["balancer/src"], &["rs"]);
    let only_tests = test_files(&files);
    for file in files {
        let inside = file.path.trim_start_matches("balancer/src/");
        let module = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let Some(&own) = rank.get(module) else { continue };
        if file.is_test() || only_tests.contains(&file.path) {
            continue;
        }
        for used in named_modules(&code(&file)) {
            checked += 1;
            if rank.get(used.as_str()).is_some_and(|&other| other > own) {
                faults.push(format!("{}: `{module}` uses `{used}`, which stands below it", file.path));
            }
        }
    }
    assert!(checked > 500, "only {checked} uses were found: the test does not read what it should");
    tree::assert_none(&faults, "a module uses what stands above it in the map of balancer/src/lib.rs");
}

#[test]
fn both_maps_name_all_modules_in_one_order() {
    let map = map_of_lib();
    assert_eq!(map, map_of_architecture(), "lib.rs and docs/architecture.md");
    let lib = tree::file("balancer/src/lib.rs");
    // Two modules stand in a crate of their own, since the harness uses them too.
    let shared = |line| str::strip_prefix(line, "pub use roundelay_text::{")?.strip_suffix("};");
    let of_others = lib.lines().filter_map(|(_, line)| shared(line)).flat_map(|names| names.split(", "));
    // No build of the binary has `fuzzing`.
    let own = lib.lines().filter_map(|(_, line)| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut declared: Vec<&str> = own.filter(|name| *name != "fuzzing").chain(of_others).collect();
    let mut mapped: Vec<&str> = map.iter().map(String::as_str).collect();
    declared.sort_unstable();
    mapped.sort_unstable();
    assert_eq!(declared, mapped, "modules of lib.rs, and rows of its map");
}

#[test]
fn unsafe_code_stands_in_os_and_fds_only() {
    let mut faults = Vec::new();
    let mut found = 0;
    for file in tree::files(&["balancer/src", "worker-runtime/src"], &["rs"]) {
        for (number, line) in code(&file).lines().enumerate().map(|(at, line)| (at + 1, line)) {
            let is_unsafe = line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
            if !is_unsafe {
                continue;
            }
            found += 1;
            if !file.path.starts_with("balancer/src/os/") && file.path != "worker-runtime/src/fds.rs" {
                faults.push(format!("{}:{number}", file.path));
            }
        }
    }
    assert!(found > 10, "only {found} uses were found: the test does not read what it should");
    tree::assert_none(&faults, "`unsafe` belongs into balancer/src/os/ and worker-runtime/src/fds.rs");
}

#[test]
fn names_in_a_list_of_crate_paths_are_found() {
    assert_eq!(named_modules("use crate::net::relay::{a, b};"), ["net"]);
    assert_eq!(named_modules("use crate::{config, os::{child::X, limits}, strategy};"), ["config", "os", "strategy"]);
    assert_eq!(named_modules("use crate::{\n    config::Config,\n    net,\n};"), ["config", "net", ""]);
    assert_eq!(named_modules("pub(crate) fn f() { crate::mode::A + crate::stats::B }"), ["mode", "stats"]);
}
