//! The way that sockets are passed to a worker. Pure.

use super::{PoolConfig, Program};
use crate::mode::{Inherits, Mode};

/// The way that sockets are passed, as the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketPassing {
    /// `Node` for a command that is `node FILE`, in the modes that Node's cluster supports. Else the mode decides.
    Auto,
    /// `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` from descriptor 3, as systemd defines them.
    ListenFds,
    /// The channel of Node's cluster on descriptor 3. The program calls `listen` as it would without a master.
    Node,
}

/// The way that sockets are passed, as it results for a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassedAs {
    /// No socket is passed.
    Nothing,
    /// Listening sockets, by `LISTEN_FDS`.
    Listeners,
    /// Accepted sockets, on the channel of a worker made with `worker-runtime`.
    Channel,
    /// Accepted or listening sockets, on the channel of Node's cluster.
    Node,
}

impl PassedAs {
    /// Returns true if the master learns how each handed-over connection ends. Node reports only that it took the
    /// connection.
    pub fn tells_ends(self) -> bool {
        self != PassedAs::Node
    }

    /// Returns true if there is a channel on which the master can ask if the worker is alive.
    pub fn has_channel(self) -> bool {
        matches!(self, PassedAs::Channel | PassedAs::Node)
    }
}

impl PoolConfig {
    /// Returns the way that sockets are passed to this pool's workers.
    pub fn passed_as(&self) -> PassedAs {
        let knows_cluster = matches!(self.mode, Mode::Handoff | Mode::Shared);
        let is_node = match self.socket_passing {
            SocketPassing::Auto => knows_cluster && matches!(self.launch(), Launch::Script),
            SocketPassing::ListenFds => false,
            SocketPassing::Node => knows_cluster,
        };
        match self.mode.inherits() {
            _ if is_node => PassedAs::Node,
            Inherits::Nothing => PassedAs::Nothing,
            Inherits::PublicListeners | Inherits::SlotListener => PassedAs::Listeners,
            Inherits::Channel => PassedAs::Channel,
        }
    }

    /// Returns the way that the pool's command starts Node.
    pub fn launch(&self) -> Launch {
        match &self.program {
            Program::Demo => Launch::Other,
            Program::Command(words) => launch(words),
        }
    }
}

/// The way that a command starts Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch {
    /// `node FILE`: the process that is started is the application.
    Script,
    /// A launcher starts the application as another process, so the channel would end at the launcher. The launcher's
    /// name.
    Between(&'static str),
    /// Any other command.
    Other,
}

/// Programs that start Node as a child and stay between it and the master.
const LAUNCHERS: [&str; 13] = [
    "npm",
    "npx",
    "yarn",
    "pnpm",
    "nodemon",
    "pm2",
    "pm2-runtime",
    "forever",
    "ts-node-dev",
    "node-dev",
    "tsx",
    "cross-env",
    "dotenv",
];
/// Options of `node` whose value is the next word.
const WITH_VALUE: [&str; 9] = [
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "-C",
    "--conditions",
    "--title",
    "--icu-data-dir",
];
/// Options of `node` without a script, or with which Node starts the script as another process.
const NO_SCRIPT: [&str; 9] = ["-e", "--eval", "-p", "--print", "-i", "--interactive", "-c", "--check", "--test"];

fn launch(words: &[String]) -> Launch {
    let Some((program, args)) = words.split_first() else { return Launch::Other };
    let name = program.rsplit('/').next().unwrap_or_default();
    if let Some(launcher) = LAUNCHERS.into_iter().find(|launcher| *launcher == name) {
        return Launch::Between(launcher);
    }
    if !matches!(name, "node" | "nodejs") {
        return Launch::Other;
    }
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg {
            "--" => return if args.next().is_some() { Launch::Script } else { Launch::Other },
            _ if arg == "--watch" || arg.starts_with("--watch-path") => return Launch::Between("node --watch"),
            "--run" => return Launch::Between("node --run"),
            _ if NO_SCRIPT.contains(&arg) => return Launch::Other,
            _ if WITH_VALUE.contains(&arg) => drop(args.next()),
            _ if arg.starts_with('-') && arg != "-" => {}
            "-" => return Launch::Other,
            _ => return Launch::Script,
        }
    }
    Launch::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(command: &str) -> Launch {
        launch(&command.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn node_with_a_file_is_the_application_itself() {
        for command in [
            "node app.js",
            "/usr/bin/node app.mjs --port 3000",
            "nodejs ./server",
            "node --max-old-space-size=512 -r dotenv/config app.js",
            "node --import tsx server.ts",
            "node -- app.js",
        ] {
            assert_eq!(of(command), Launch::Script, "{command}");
        }
    }

    #[test]
    fn launcher_that_starts_node_as_a_child_is_named() {
        for (command, launcher) in [
            ("npm start", "npm"),
            ("tsx app.ts", "tsx"),
            ("node_modules/.bin/tsx app.ts", "tsx"),
            ("/usr/bin/npx next start", "npx"),
            ("yarn start", "yarn"),
            ("node --watch app.js", "node --watch"),
            ("node --run start", "node --run"),
        ] {
            assert_eq!(of(command), Launch::Between(launcher), "{command}");
        }
    }

    #[test]
    fn other_command_is_not_a_node_script() {
        for command in ["node", "node -e 1", "node --eval 1 x", "node --", "node -", "python3 app.py", "./node-like x"]
        {
            assert_eq!(of(command), Launch::Other, "{command}");
        }
    }

    #[test]
    fn mode_and_command_decide_how_sockets_are_passed() {
        let passed_as = |mode, socket_passing, command: &str| {
            let words = command.split(' ').map(str::to_owned).collect();
            PoolConfig { mode, socket_passing, ..PoolConfig::new("a", Program::Command(words)) }.passed_as()
        };
        use SocketPassing::{Auto, ListenFds, Node};
        assert_eq!(passed_as(Mode::Proxy, Auto, "node app.js"), PassedAs::Nothing);
        assert_eq!(passed_as(Mode::Handoff, Auto, "node app.js"), PassedAs::Node);
        assert_eq!(passed_as(Mode::Handoff, Auto, "./mine"), PassedAs::Channel);
        assert_eq!(passed_as(Mode::Handoff, Node, "./start-node"), PassedAs::Node);
        assert_eq!(passed_as(Mode::Shared, Auto, "node app.js"), PassedAs::Node);
        assert_eq!(passed_as(Mode::Shared, ListenFds, "node app.js"), PassedAs::Listeners);
        assert_eq!(passed_as(Mode::Shared, Auto, "./mine"), PassedAs::Listeners);
        assert_eq!(passed_as(Mode::Reuseport, Auto, "node app.js"), PassedAs::Listeners);
    }
}
