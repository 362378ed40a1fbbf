//! The static binary, alone with `/proc` and `/dev/null` in an empty root, as PID 1 and as the image's user.
//!
//! `.ci/run` builds it and names it in `ROUNDELAY_STATIC`.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{dockerfile, read};
use crate::kit;

/// A shell script that does what a container engine does: `$ROOT` is the image, `$AS` the command that becomes its
/// user.
const MOUNTS: &str = "mount -t proc proc $ROOT/proc && mount --bind /dev/null $ROOT/dev/null && ";
const ENTER: &str = "exec chroot $AS $ROOT \"$@\"";

/// An image's files, and the words of its Dockerfile.
struct Image {
    root: tempfile::TempDir,
    stage: dockerfile::Stage,
    rights: Rights,
}

impl Image {
    fn new(binary: &Path, rights: Rights) -> Self {
        let stage = dockerfile::parse(&read("docker/Dockerfile")).pop().unwrap();
        let root = tempfile::tempdir().unwrap();
        let at = |below: &str| root.path().join(below);
        std::fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        for (folder, mode) in [("proc", 0o755), ("dev", 0o755), ("tmp", 0o1777)] {
            std::fs::create_dir(at(folder)).unwrap();
            std::fs::set_permissions(at(folder), Permissions::from_mode(mode)).unwrap();
        }
        File::create(at("dev/null")).unwrap();
        std::fs::copy(binary, at("roundelay")).unwrap();
        Self { root, stage, rights }
    }

    /// A command in the image, in namespaces of its own if it is to be PID 1.
    fn command(&self, words: &[String], is_first: bool) -> Command {
        let mut command = Command::new("unshare");
        let enter = match self.rights {
            Rights::Root => format!("--userspec={}", self.stage.last("USER")),
            Rights::UserNamespace => {
                command.arg("-r");
                String::new()
            }
        };
        if is_first {
            command.args(["--mount", "--pid", "--fork", "--kill-child"]);
        }
        let script = if is_first { format!("{MOUNTS}{ENTER}") } else { ENTER.to_owned() };
        command.args(["sh", "-c", &script, "sh"]).args(words);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(self.stage.env()).env("ROOT", self.root.path()).env("AS", enter);
        // Another program on this machine may have the default admin port.
        command.env("ROUNDELAY_ADMIN", "127.0.0.1:0");
        command
    }

    /// The path of the control socket, seen from outside.
    fn control(&self) -> PathBuf {
        let (_, inside) = self.stage.env().into_iter().find(|(name, _)| *name == "ROUNDELAY_CONTROL").unwrap();
        self.root.path().join(&inside[1..])
    }
}

/// A container. It is killed when dropped, with all its processes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The right by which this test can make namespaces and change the root.
#[derive(Clone, Copy, PartialEq)]
enum Rights {
    Root,
    /// A user namespace in which only its own root exists, so the image's user is not tried there.
    UserNamespace,
}

impl Rights {
    fn here() -> Option<Self> {
        let suffice = |user: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(user).args(["--mount", "--pid", "--fork", "sh", "-c", "mount -t proc proc /proc"]);
            command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        let found = if suffice(&[]) { Some(Self::Root) } else { suffice(&["-r"]).then_some(Self::UserNamespace) };
        if found.is_none() {
            // This is no failure even where everything is required: no package brings the right.
            eprintln!("skipped: needs root or user namespaces");
        }
        found
    }
}

/// The process that is PID 1 inside: the only child of `unshare`.
fn first_of(unshare: &Child) -> Option<u32> {
    let pid = unshare.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

#[test]
fn static_binary_as_pid_1_in_an_empty_root_serves_and_stops() {
    let Some(binary) = std::env::var_os("ROUNDELAY_STATIC") else {
        kit::missing("the static binary (ROUNDELAY_STATIC, see .ci/run)");
        return;
    };
    if !kit::has("unshare") {
        return;
    }
    let Some(rights) = Rights::here() else { return };
    let image = Image::new(Path::new(&binary), rights);
    let log = image.root.path().join("log");
    let out = File::create(&log).unwrap();
    let words: Vec<String> = image.stage.command_line();
    let words: Vec<String> = words.iter().map(|word| word.replace("0.0.0.0:8080", "127.0.0.1:0")).collect();
    let mut run = image.command(&words, true);
    run.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
    let mut container = Running(run.spawn().unwrap());
    let said = || String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();

    let check = || kit::run_to_end(&mut image.command(&image.stage.words("HEALTHCHECK"), false));
    kit::wait_until("its own healthcheck to say ready", || {
        assert_eq!(container.0.try_wait().unwrap(), None, "it ended:\n{}", said());
        check().code == Some(0)
    });
    let first = first_of(&container.0).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{first}/status")).unwrap();
    assert!(status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1")), "{status}");
    if rights == Rights::Root {
        let user = image.stage.last("USER").split(':').next().unwrap();
        assert!(status.contains(&format!("\nUid:\t{user}\t{user}\t{user}\t{user}\n")), "{status}");
    }

    let state = || -> roundelay::api::state::State {
        serde_json::from_str(&kit::get_unix(&image.control(), "/api/v1/state").unwrap().body).unwrap()
    };
    // The healthcheck already succeeds with the first ready worker.
    kit::wait_until("all workers to be ready", || state().pools[0].workers_ready == state().pools[0].workers_desired);
    let state = state();
    let pool = &state.pools[0];
    let public = pool.listen[0].parse().unwrap();
    for _ in 0..4 {
        assert!(kit::get(public, "/").unwrap().body.starts_with("hello from demo/"));
    }

    kit::kill(i64::from(first), "TERM");
    let end = kit::wait_for("its end", || container.0.try_wait().unwrap());
    assert_eq!(end.code(), Some(0), "{}", said());
    assert_eq!(check().code, Some(3), "asked after its end");
}

/// The binary is built as in the image, without the harness.
#[test]
fn static_binary_says_that_compare_is_left_out() {
    let Some(binary) = std::env::var_os("ROUNDELAY_STATIC") else {
        kit::missing("the static binary (ROUNDELAY_STATIC, see .ci/run)");
        return;
    };
    assert!(read("docker/Dockerfile").contains("--no-default-features"));
    for command in ["compare", "report", "drill"] {
        let ended = kit::run_to_end(Command::new(&binary).args([command, "--quick"]));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("built without `compare`, `report` and `drill`"), "{ended:?}");
    }
}
