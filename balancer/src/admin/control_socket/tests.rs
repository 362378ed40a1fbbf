use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn refusal(path: &Path) -> String {
    ControlSocket::open(path).expect_err("must be refused").to_string()
}

#[test]
fn only_our_user_gets_to_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("roundelay/control.sock");
    let control = ControlSocket::open(&socket).unwrap();
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
    assert_eq!((mode(&socket), mode(&control.lock_path())), (0o600, 0o600));
    UnixStream::connect(&socket).unwrap();
}

#[test]
fn ended_master_leaves_no_files_and_the_next_one_can_start() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    for _ in 0..2 {
        let control = ControlSocket::open(&socket).unwrap();
        let _duplicate = control.listener().unwrap();
        drop(control);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn second_master_is_told_the_pid_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let _first = ControlSocket::open(&socket).unwrap();
    let text = refusal(&socket);
    assert!(text.contains(&format!("another master holds the control socket {}", socket.display())), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())) && text.contains("--control PATH"), "{text}");
    UnixStream::connect(&socket).expect("the first one still listens");
}

#[test]
fn killed_masters_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    drop(UnixListener::bind(&socket).unwrap());
    fs::write(dir.path().join("control.sock.lock"), "4194304\n").unwrap();
    let _door = ControlSocket::open(&socket).unwrap();
    UnixStream::connect(&socket).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("control.sock.lock")).unwrap(), format!("{}\n", std::process::id()));
}

#[test]
fn path_other_than_a_dead_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "precious").unwrap();
    symlink(at("file"), at("link")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    let _other = UnixListener::bind(at("busy")).unwrap();
    for (name, reason) in
        [("file", "not a socket"), ("link", "symbolic link"), ("dangling", "symbolic link"), ("busy", "listens there")]
    {
        let text = refusal(&at(name));
        assert!(text.contains(reason), "{name}: {text}");
        assert!(fs::symlink_metadata(at(name)).is_ok(), "{name} was removed");
    }
    assert_eq!(fs::read_to_string(at("file")).unwrap(), "precious");
}

#[test]
fn folder_writable_by_others_is_refused_unless_sticky() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("open");
    fs::create_dir(&folder).unwrap();
    let allow = |bits| fs::set_permissions(&folder, fs::Permissions::from_mode(bits)).unwrap();
    for bits in [0o777, 0o770, 0o702] {
        allow(bits);
        let text = refusal(&folder.join("control.sock"));
        assert!(text.contains("lets others replace the socket") && text.contains("chmod go-w"), "{text}");
    }
    for bits in [0o1777, 0o755, 0o700] {
        allow(bits);
        drop(ControlSocket::open(&folder.join("control.sock")).unwrap());
    }
}

#[test]
fn private_folder_below_an_open_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let above = dir.path().join("open");
    let folder = above.join("middle/private");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    symlink(above.join("middle"), dir.path().join("link")).unwrap();
    let by_link = dir.path().join("link/private");
    let allow = |bits| fs::set_permissions(&above, fs::Permissions::from_mode(bits)).unwrap();
    for bits in [0o777, 0o702] {
        allow(bits);
        for folder in [&folder, &by_link] {
            let text = refusal(&folder.join("control.sock"));
            let hint = format!("chmod o-w {}", above.display());
            assert!(text.contains("above it lets others replace it") && text.contains(&hint), "{text}");
        }
    }
    for bits in [0o1777, 0o755, 0o775] {
        allow(bits);
        drop(ControlSocket::open(&by_link.join("control.sock")).unwrap());
    }
}

#[test]
fn removed_socket_lock_or_folder_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let socket = folder.join("control.sock");
    let control = ControlSocket::open(&socket).unwrap();
    assert!(control.restore().unwrap().is_none(), "nothing is missing");
    assert_eq!(master_without_socket(&socket), None);
    fs::remove_file(&socket).unwrap();
    assert_eq!(master_without_socket(&socket), Some(std::process::id()));
    assert!(control.restore().unwrap().is_some());
    UnixStream::connect(&socket).unwrap();
    fs::remove_file(control.lock_path()).unwrap();
    assert!(control.restore().unwrap().is_none(), "the socket is still there");
    assert!(refusal(&socket).contains("another master holds"));
    fs::remove_dir_all(&folder).unwrap();
    assert!(control.restore().unwrap().is_some());
    UnixStream::connect(&socket).unwrap();
    assert_eq!((mode(&folder), mode(&socket), mode(&control.lock_path())), (0o700, 0o600, 0o600));
    assert!(refusal(&socket).contains(&format!("process {}", std::process::id())));
    drop(control);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn place_that_a_second_master_took_is_left_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("run/control.sock");
    let first = ControlSocket::open(&socket).unwrap();
    fs::remove_file(first.lock_path()).unwrap();
    let text = refusal(&socket);
    assert!(text.contains(&format!("another program (process {}) listens there", std::process::id())), "{text}");
    fs::remove_dir_all(socket.parent().unwrap()).unwrap();
    let second = ControlSocket::open(&socket).unwrap();
    let why = first.restore().unwrap_err().to_string();
    assert!(why.contains("another master holds the control socket"), "{why}");
    drop(first);
    UnixStream::connect(&socket).unwrap();
    assert!(second.lock_path().exists() && refusal(&socket).contains("another master holds"));
}

#[test]
fn folder_that_is_a_link_a_file_or_missing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("real")).unwrap();
    symlink(at("real"), at("link")).unwrap();
    fs::write(at("file"), "").unwrap();
    for (name, reason) in
        [("link", "symbolic link"), ("link/.", "symbolic link"), ("file", "not a folder"), ("no/such", "No such file")]
    {
        let text = refusal(&at(name).join("control.sock"));
        assert!(text.contains(reason), "{name}: {text}");
    }
}

#[test]
fn lock_file_that_is_a_link_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, dir.path().join("control.sock.lock")).unwrap();
    assert!(refusal(&dir.path().join("control.sock")).contains("cannot lock"));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

#[test]
fn path_too_long_for_the_kernel_is_explained() {
    let text = refusal(&Path::new("/tmp").join("x".repeat(200)));
    assert!(text.contains("205 bytes") && text.contains("107"), "{text}");
}

#[test]
fn of_many_masters_that_start_at_once_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let winners: Vec<ControlSocket> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..16).map(|_| scope.spawn(|| ControlSocket::open(&socket).ok())).collect();
        starts.into_iter().filter_map(|start| start.join().unwrap()).collect()
    });
    assert_eq!(winners.len(), 1);
}
