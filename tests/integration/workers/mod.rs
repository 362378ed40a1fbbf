//! `docs/workers.md`: every program on the page runs as it stands there, and does what its table says.

mod alone;
mod page;

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use alone::{Alone, says, says_at};
use page::{Language, find, languages};

use crate::kit::{Setup, has, wait_until};

/// Checks one language, if what it needs is here: the program saved as `file`, then run by `command`.
fn check(name: &str, needs: &[&str], file: &str, command: &[&str]) {
    if !needs.iter().all(|program| has(program)) {
        return;
    }
    let language = find(name);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(file), language.code).unwrap();
    let path = folder.path().join(file);
    // The path is absolute, since a master runs in a folder of its own.
    let whole = |word: &&str| if *word == file { path.to_str().unwrap().to_owned() } else { (*word).to_owned() };
    check_command(&language, &command.iter().map(whole).collect::<Vec<_>>());
}

fn check_command(language: &Language, command: &[String]) {
    let hello = format!("hello from {}\n", if language.name == "Shell" { "shell" } else { language.name });
    behind_a_master(command, &hello);
    let folder = tempfile::tempdir().unwrap();
    let (worker, address) = Alone::on_a_port(folder.path(), command);
    says(address, &hello);
    if language.finishes {
        worker.terminate_with_an_open_request(address, &hello);
    } else {
        assert_eq!(worker.terminate().code(), Some(0));
    }
    if language.inherits {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let worker = Alone::on_descriptor_3(folder.path(), command, listener.try_clone().unwrap());
        let second = Alone::on_descriptor_3(folder.path(), command, listener.try_clone().unwrap());
        (0..4).for_each(|_| says(address, &hello));
        assert_eq!(worker.terminate().code(), Some(0));
        says(address, &hello);
        assert_eq!(second.terminate().code(), Some(0), "a socket that is shared keeps nobody");
    }
    if language.takes_a_path {
        let socket = folder.path().join("socket");
        let worker = Alone::on_a_path(folder.path(), command, &socket);
        says_at(&socket, &hello);
        assert_eq!(worker.terminate().code(), Some(0));
        assert!(!socket.exists(), "its socket is left");
    }
}

/// Checks that two workers become ready by notify, answer through the balancer and end with 0 when it stops.
fn behind_a_master(command: &[String], hello: &str) {
    let mut args = vec!["run", "--workers", "2", "--ready", "notify", "--"];
    args.extend(command.iter().map(String::as_str));
    let mut master = Setup::new(&args).start_ready();
    for _ in 0..4 {
        let answer = master.get("/").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, hello));
    }
    wait_until("each to have answered", || master.workers().iter().all(|worker| worker.connections == Some(2)));
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    eventually_eq!(master.log().matches("exit=exit code 0").count(), 2, "{}", master.log());
}

#[test]
fn table_and_programs_name_the_same_languages() {
    let names: Vec<_> = languages().iter().map(|language| language.name).collect();
    assert_eq!(names, ["Node", "Python", "Ruby", "Go", "Rust", "PHP", "Shell"]);
}

#[test]
fn node() {
    check("Node", &["node", "socat"], "server.js", &["node", "server.js"]);
}

#[test]
fn python() {
    check("Python", &["python3"], "server.py", &["python3", "server.py"]);
}

#[test]
fn ruby() {
    check("Ruby", &["ruby"], "server.rb", &["ruby", "server.rb"]);
}

/// Go is never required: Debian's package is half a gigabyte.
#[test]
fn go() {
    if Command::new("go").arg("version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: needs go");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("server.go"), find("Go").code).unwrap();
    // There is no deadline: a new Go compiles its whole library first.
    let built = Command::new("go").args(["build", "-o", "server", "server.go"]).current_dir(folder.path()).output();
    let built = built.unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    check_command(&find("Go"), &[folder.path().join("server").to_str().unwrap().to_owned()]);
}

#[test]
fn rust() {
    let language = find("Rust");
    assert_eq!(language.code, include_str!("../../../worker-runtime/examples/http.rs"));
    let command = [crate::examples::example("http")];
    check_command(&language, &command);

    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("inherited");
    let worker = Alone::on_descriptor_3(folder.path(), &command, UnixListener::bind(&socket).unwrap());
    says_at(&socket, "hello from Rust\n");
    assert_eq!(worker.terminate().code(), Some(0));
    assert!(socket.exists(), "the path belongs to who made it");
}

#[test]
fn other_rust_code_on_the_page_is_from_the_examples() {
    let example = include_str!("../../../worker-runtime/examples/messages.rs");
    let lines: Vec<_> = example.lines().map(str::trim).collect();
    let others = page::others("Rust");
    assert_eq!(others.len(), 1);
    for block in others {
        let block: Vec<_> = block.lines().map(str::trim).collect();
        assert!(lines.windows(block.len()).any(|window| window == block), "{block:#?}");
    }
}

#[test]
fn php() {
    check("PHP", &["php"], "server.php", &["php", "server.php"]);
}

#[test]
fn shell() {
    check("Shell", &["socat"], "server.sh", &["sh", "server.sh"]);
}
