//! Runs a page's commands, one after the other.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use super::page::{Step, is_shown, words};
use super::root;
use crate::kit::{DEADLINE, Master, Setup, has, missing, run_to_end, wait_until};

/// The control socket of the README's user.
const CONTROL: &str = "/run/user/1000/roundelay/control.sock";
const ADMIN: &str = "127.0.0.1:9900";
const PUBLIC: &str = "127.0.0.1:80";

#[derive(Default)]
pub(super) struct Session {
    files: Vec<(String, String)>,
    master: Option<Master>,
    /// Pairs of a text in the README and the text that is true here.
    real: Vec<(String, String)>,
    /// True if something is not installed: until the next master nothing is run.
    is_skipping: bool,
    pub(super) masters: usize,
    pub(super) commands: usize,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} masters, {} other commands", self.masters, self.commands)
    }
}

impl Session {
    /// Adds a file of the page, which exists from now on.
    pub(super) fn write(&mut self, name: String, text: String) {
        self.files.retain(|(other, _)| *other != name);
        self.files.push((name, text));
    }

    #[track_caller]
    pub(super) fn run(&mut self, step: &Step) {
        let words = words(&step.command);
        let is_cargo = words == ["cargo", "run", "--release"];
        let is_master = words[0] == "roundelay" && words.get(1).is_none_or(|word| word == "run" || word == "demo");
        if is_cargo || is_master {
            self.finish();
            self.masters += 1;
            self.is_skipping = !is_possible(&words);
            if !self.is_skipping {
                self.start(if is_cargo { &[] } else { &words[1..] }, step);
            }
        } else {
            self.commands += 1;
            if !self.is_skipping && is_possible(&words) {
                self.command(step);
            }
        }
    }

    /// Stops the running master, which must exit with 0.
    #[track_caller]
    pub(super) fn finish(&mut self) {
        if let Some(mut master) = self.master.take() {
            master.signal("TERM");
            assert_eq!(master.wait_end().code(), Some(0), "{}", master.log());
        }
    }

    #[track_caller]
    fn start(&mut self, args: &[String], step: &Step) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        // Two workers, as on the machine of the README, unless the command says it.
        let mut setup = Setup::new(&args);
        let mut public = vec!["127.0.0.1:8080".to_owned()];
        if let Some(at) = args.iter().position(|arg| *arg == "-c") {
            // A file of several pools names its addresses itself; free ones are written into it.
            let (_, text) = self.files.iter().find(|(name, _)| name == args[at + 1]).unwrap();
            public = text.split('"').filter(|part| part.starts_with(PUBLIC)).map(str::to_owned).collect();
            setup = setup.env("ROUNDELAY_LISTEN", "");
        } else if !args.contains(&"-i") {
            setup = setup.env("ROUNDELAY_WORKERS", "2");
        }
        self.furnish(setup.dir());
        let master = setup.start_ready();
        let state = master.state();
        let listening = state.pools.iter().flat_map(|pool| pool.listen.clone());
        self.real = public.into_iter().zip(listening).collect();
        self.real.push((ADMIN.to_owned(), master.admin().to_string()));
        self.real.push((CONTROL.to_owned(), master.control.display().to_string()));
        self.real
            .push(("target/release/roundelay list".to_owned(), format!("{} list", env!("CARGO_BIN_EXE_roundelay"))));
        let shown: Vec<String> = step.shown.iter().map(|line| self.really(line)).collect();
        wait_until(&format!("`{}` to show {shown:#?}", step.command), || is_shown(&shown, &master.log()));
        self.master = Some(master);
    }

    /// Puts the page's files, and the files of the repository that it uses, where its commands run.
    fn furnish(&self, dir: &Path) {
        for (name, text) in &self.files {
            let free = |port| format!("{PUBLIC}{port}");
            let text = ["80", "81"].iter().fold(text.clone(), |text, port| text.replace(&free(port), "127.0.0.1:0"));
            std::fs::write(dir.join(name), text).unwrap();
        }
        for name in ["tests", "config"] {
            if !dir.join(name).exists() {
                std::os::unix::fs::symlink(root().join(name), dir.join(name)).unwrap();
            }
        }
    }

    #[track_caller]
    fn command(&self, step: &Step) {
        let master = self.master.as_ref().expect("a page begins with a master");
        self.furnish(master.dir());
        let mut command = self.really(&step.command);
        if let Some(("kill -9", _)) = command.rsplit_once(' ') {
            command = format!("kill -9 {}", master.pids()[0]);
        }
        let shown: Vec<String> = step.shown.iter().map(|line| self.really(line)).collect();
        let must_fail = shown.iter().any(|line| line.starts_with("error:"));
        let bin = Path::new(env!("CARGO_BIN_EXE_roundelay")).parent().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let given_up = Instant::now() + DEADLINE;
        loop {
            let mut shell = Command::new("sh");
            shell.args(["-c", &command]).current_dir(master.dir()).env("PATH", &path);
            let ended = run_to_end(shell.env("ROUNDELAY_CONTROL", &master.control));
            // On a terminal progress comes before the answer, and an error after it.
            let [out, err] = [&ended.stdout, &ended.stderr];
            let is_said = is_shown(&shown, &format!("{out}\n{err}")) || is_shown(&shown, &format!("{err}\n{out}"));
            if (ended.code == Some(0)) != must_fail && is_said {
                return;
            }
            assert!(Instant::now() < given_up, "`{command}` must show {shown:#?}, but it said {ended:#?}");
            // A pause between two looks: a worker may still be starting.
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// A line of the README with the addresses that are true here.
    fn really(&self, line: &str) -> String {
        self.real.iter().fold(line.to_owned(), |line, (said, real)| line.replace(said, real))
    }
}

/// Returns true if the programs that a command needs are installed.
fn is_possible(words: &[String]) -> bool {
    let programs = ["curl", "node", "python3", "socat"];
    let is_there = |word: &String| !programs.contains(&word.as_str()) || has(word);
    let needs_express = words.iter().any(|word| word.starts_with("tests/node/"));
    words.iter().all(is_there)
        && (!needs_express || root().join("tests/node/node_modules").exists() || missing("tests/node/node_modules"))
}
