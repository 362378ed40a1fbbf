//! Finds programs and folders that a start needs and this machine lacks. Starts and changes nothing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::config::{Address, Config, LogTarget, PoolConfig, Position, Problems, Program};
use crate::output;

/// The directories in which `execvp` looks for a program when there is no `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Adds an error for each program and folder without which a start would fail. What this user may not look at is only a
/// warning, since the master may be started by another user.
pub(super) fn look(config: &Config, origins: &BTreeMap<String, Position>, problems: &mut Problems) {
    for pool in &config.pools {
        let mut found = Found { pool, origins, problems };
        let has_cwd = found.working_directory();
        found.program(has_cwd);
        found.log();
        found.listen();
    }
    problems.sort();
}

struct Found<'a> {
    pool: &'a PoolConfig,
    origins: &'a BTreeMap<String, Position>,
    problems: &'a mut Problems,
}

impl Found<'_> {
    /// Adds an error at `key`. If this user may only not see the file, adds a warning instead.
    fn say(&mut self, key: &str, message: &str, error: Option<&io::Error>, label: &str) {
        let name = &self.pool.name;
        if error.is_some_and(|error| error.kind() == ErrorKind::PermissionDenied) {
            return self.problems.warn(format!("{message} (pool {name}): permission denied"));
        }
        let whole = format!("pool.{name}.{key}");
        let at = self.origins.get(&format!("{whole}[0]")).or_else(|| self.origins.get(&whole));
        self.problems.fail(at, format!("{message} (pool {name})"), label);
    }

    /// Returns true if the pool's working directory exists.
    fn working_directory(&mut self) -> bool {
        let Some(cwd) = &self.pool.cwd else { return true };
        let error = match std::fs::metadata(cwd) {
            Ok(found) if found.is_dir() => return true,
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let message = format!("cwd `{}` is not a directory", cwd.display());
        self.say("cwd", &message, error.as_ref(), "make it, or correct the path");
        false
    }

    fn program(&mut self, has_cwd: bool) {
        let Program::Command(words) = &self.pool.program else { return };
        let Some(program) = words.first() else { return };
        if program.contains('/') {
            // A relative path also fails if the directory is missing, which was reported already.
            if !has_cwd && !program.starts_with('/') {
                return;
            }
            let cwd = self.pool.cwd.as_deref().unwrap_or(Path::new(""));
            match is_executable(&cwd.join(program)) {
                Ok(true) => {}
                other => {
                    let message = format!("command `{program}` is not an executable program");
                    self.say("command", &message, other.err().as_ref(), "install it, or correct the path");
                }
            }
            return;
        }
        let own = self.pool.env.get("PATH").map(OsString::from);
        let path = own.or_else(|| std::env::var_os("PATH")).unwrap_or_else(|| DEFAULT_PATH.into());
        if !is_on_path(program, &path) {
            let message = format!("command `{program}` is not on PATH");
            self.say("command", &message, None, "install it, or write its full path");
        }
    }

    fn log(&mut self) {
        let LogTarget::File(path) = &self.pool.log.to else { return };
        // Checks exactly what the start checks, except that it does not open the file.
        let folder = output::check_folder(path).err();
        let lies_there = std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file());
        let message = match &folder {
            Some(error) => format!("cannot log to {}: {error}", path.display()),
            None if lies_there => format!("cannot log to {}: it is not a regular file", path.display()),
            None => return,
        };
        // A folder that this user may not write to exists: the start may run as another user.
        let is_absent = folder.as_ref().is_none_or(|error| error.kind() != ErrorKind::PermissionDenied);
        let denied = (!is_absent).then(|| io::Error::from(ErrorKind::PermissionDenied));
        self.say("log.to", &message, denied.as_ref(), "create the folder, or choose another");
    }

    fn listen(&mut self) {
        for address in &self.pool.listen {
            let Address::Unix(path) = address else { continue };
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let error = match std::fs::metadata(folder) {
                Ok(found) if found.is_dir() => continue,
                Ok(_) => None,
                Err(error) => Some(error),
            };
            let message = format!("cannot listen on {address}: there is no folder {}", folder.display());
            self.say("listen", &message, error.as_ref(), "create the folder, or choose another");
        }
    }
}

fn is_executable(file: &Path) -> io::Result<bool> {
    match std::fs::metadata(file) {
        Ok(found) => Ok(found.is_file() && found.permissions().mode() & 0o111 != 0),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        Err(_) => Ok(false),
    }
}

fn is_on_path(program: &str, path: &OsStr) -> bool {
    // A file that this user may not look at may be the program.
    std::env::split_paths(path).any(|dir| is_executable(&dir.join(program)).unwrap_or(true))
}
