//! A worker without a master: a port, a path or an inherited socket, and SIGTERM with an open request.

use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::kit::{DEADLINE, Kept, free_address, get, is_listening, is_read, kill, request, wait_for, wait_until};

/// A worker process that has said `READY=1`. Killed when dropped.
pub(super) struct Alone {
    child: Child,
    log: PathBuf,
}

impl Alone {
    /// Starts `command` in `folder`, after a line of shell and with the additions of `prepare`.
    #[track_caller]
    fn start(folder: &Path, command: &[String], script: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let notify = folder.join("notify");
        let _ = std::fs::remove_file(&notify);
        let supervisor = UnixDatagram::bind(&notify).unwrap();
        supervisor.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{script} exec \"$0\" \"$@\"")]).args(command).current_dir(folder);
        for name in ["PORT", "HOST", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC"] {
            shell.env_remove(name);
        }
        let log = folder.join("log");
        let out = File::create(&log).unwrap();
        shell.env("NOTIFY_SOCKET", &notify).stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        prepare(&mut shell);
        let alone = Self { child: shell.spawn().unwrap(), log };
        let mut said = [0; 64];
        // A stop and continue of the test process interrupts a call with a timeout, and nothing repeats that call.
        let length = loop {
            match supervisor.recv(&mut said) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other.expect("READY=1 in time"),
            }
        };
        // Workers that use the library say more about themselves.
        assert_eq!(said[..length].split(|byte| *byte == b'\n').next(), Some(&b"READY=1"[..]));
        alone
    }

    /// Starts the worker on a port of its own.
    #[track_caller]
    pub(super) fn on_a_port(folder: &Path, command: &[String]) -> (Self, SocketAddr) {
        let free = free_address();
        let alone = Self::start(folder, command, "", |shell| {
            shell.env("PORT", free.port().to_string()).env("HOST", free.ip().to_string());
        });
        (alone, free)
    }

    /// Starts the worker with the listener on descriptor 3. The shell puts it there before it sets its own pid and
    /// becomes the worker.
    #[track_caller]
    pub(super) fn on_descriptor_3(folder: &Path, command: &[String], listener: impl Into<OwnedFd>) -> Self {
        let fd = listener.into();
        Self::start(folder, command, "exec 3<&0 </dev/null; export LISTEN_PID=$$;", |shell| {
            shell.env("LISTEN_FDS", "1").stdin(fd);
        })
    }

    /// Starts the worker on a unix socket.
    #[track_caller]
    pub(super) fn on_a_path(folder: &Path, command: &[String], path: &Path) -> Self {
        Self::start(folder, command, "", |shell| {
            shell.env("PORT", path).env("HOST", "127.0.0.1");
        })
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub(super) fn terminate(mut self) -> ExitStatus {
        kill(i64::from(self.child.id()), "TERM");
        wait_for("the worker's end", || self.child.try_wait().unwrap())
    }

    /// Sends SIGTERM while one request is half sent and one connection is idle. The request is answered, as the last
    /// one, the idle connection is ended, and the worker exits with 0.
    #[track_caller]
    pub(super) fn terminate_with_an_open_request(mut self, address: SocketAddr, hello: &str) {
        let mut idle = Kept::connect(address);
        let keeps = !idle.get("/").says_close();
        let mut open = Kept::connect(address);
        open.send("GET / HTTP/1.1\r\nHost: localhost\r\n");
        wait_until("the worker to read half a request", || is_read(address, open.local()));
        kill(i64::from(self.child.id()), "TERM");
        if keeps {
            // Until the worker has noticed the signal its answers may promise to keep the connection.
            wait_until("the worker to close its port", || !is_listening(address));
        }
        open.send("\r\n");
        let answer = open.answer();
        assert_eq!((answer.body.as_str(), answer.says_close()), (hello, true), "{answer:?}");
        assert_eq!((open.rest(), idle.rest()), (String::new(), String::new()));
        let status = wait_for("the worker's end", || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the worker's words ---\n{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// Checks the answer to `GET /`.
#[track_caller]
pub(super) fn says(address: SocketAddr, hello: &str) {
    let answer = get(address, "/").unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, hello));
}

/// Checks the answer to `GET /` on a unix socket.
#[track_caller]
pub(super) fn says_at(path: &Path, hello: &str) {
    let answer = request(UnixStream::connect(path).unwrap(), "/").unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, hello));
}
