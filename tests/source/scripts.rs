//! The scripts that measure and serve as workers are at least programs: no rename has left one that cannot start.

use std::process::Command;

use crate::tree;

#[test]
fn python_scripts_compile() {
    let Some(python) = roundelay_test_kit::python() else { return };
    // Leaves no compiled file behind, as `py_compile` would.
    let compile =
        "import sys\nfor path in sys.argv[1:]:\n    compile(open(path, encoding='utf-8').read(), path, 'exec')";
    let scripts = tree::files(&["tests", "docs", "docker"], &["py"]);
    assert!(scripts.len() > 20, "only {} scripts were found", scripts.len());
    let paths = scripts.iter().map(|script| tree::root().join(&script.path));
    let output = Command::new(python).arg("-c").arg(compile).args(paths).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn scripts_named_in_pages_exist() {
    let mut faults = Vec::new();
    let mut checked = 0;
    for file in tree::files(&["docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests"], &["md"]) {
        for (number, line) in file.lines() {
            let is_part = |c: char| c.is_alphanumeric() || "_-./".contains(c);
            for word in line.split(|c| !is_part(c)).map(|word| word.trim_end_matches('.')) {
                let is_script = [".py", ".sh", ".js"].iter().any(|ending| word.ends_with(ending));
                // `SCRIPT` stands for any of them.
                if word.starts_with("tests/") && is_script && !word.contains("SCRIPT") {
                    checked += 1;
                    if !tree::root().join(word).exists() {
                        faults.push(format!("{}:{number}: {word}", file.path));
                    }
                }
            }
        }
    }
    assert!(checked > 10, "only {checked} scripts were found: the test does not read what it should");
    tree::assert_none(&faults, "these are not there");
}
