//! Finds the configuration file and reads it, with a bound on its size.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::problem::{Position, Problem, Problems};

/// The largest file that is read, larger than any configuration. A device or a wrong file must not fill the memory.
const LARGEST: u64 = 1 << 20;

/// A configuration text and its name in errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name as the user wrote it: `roundelay.toml`, `/etc/roundelay/roundelay.toml`, `<stdin>`.
    pub name: String,
    /// The directory that relative paths in the text refer to. `None` is the directory in which the master was started.
    pub dir: Option<PathBuf>,
    /// The text.
    pub text: String,
}

impl Source {
    /// Makes a text of that name, without a directory of its own.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), dir: None, text: text.into() }
    }

    /// Reads a file; `-` is standard input.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not a text in a regular file, or is longer than 1 MiB.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let is_stdin = path == Path::new("-");
        let name = if is_stdin { "<stdin>".to_owned() } else { path.display().to_string() };
        let mut source = Self::new(name, "");
        let mut bytes = Vec::new();
        let read = if is_stdin {
            std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes)
        } else {
            open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        };
        if let Err(error) = read {
            let message = format!("cannot read {}: {}", source.name, reason(&error));
            return Err(Problems::new(None, vec![Problem::error(Position::Whole, message)]));
        }
        if bytes.len() as u64 > LARGEST {
            let message = format!("{} is longer than 1 MiB: is it a configuration?", source.name);
            return Err(Problems::new(None, vec![Problem::error(Position::Whole, message)]));
        }
        source.dir = (!is_stdin).then(|| path.parent().unwrap_or(Path::new("")).to_path_buf());
        match String::from_utf8(bytes) {
            Ok(text) => source.text = text,
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                source.text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let problem = Problem::error(Position::File(at..at), "the file is not UTF-8 text").label("here");
                return Err(Problems::new(Some(source), vec![problem]));
            }
        }
        Ok(source)
    }

    /// Reads once more the file that a running master was started with.
    ///
    /// # Errors
    ///
    /// Fails as [`Source::read`] does; also if the source can be read only once, as standard input or a pipe.
    pub fn read_again(path: &Path) -> Result<Self, Problems> {
        let cannot = |what: String| Problems::new(None, vec![Problem::error(Position::Whole, what)]);
        if path == Path::new("-") {
            return Err(cannot("the configuration came from standard input, which cannot be read again".to_owned()));
        }
        match std::fs::metadata(path) {
            // Opening a FIFO would block until another program opens it for writing.
            Ok(found) if !found.is_file() && !found.is_dir() => {
                Err(cannot(format!("{} is no plain file, and cannot be read again", path.display())))
            }
            _ => Self::read(path),
        }
    }
}

/// Opens a regular file, or a path that stands for a stream of this process, such as `/dev/stdin` or a shell's
/// `<(...)`. It does not block, whatever file is at the path.
fn open(path: &Path) -> std::io::Result<File> {
    let is_stream =
        path == Path::new("/dev/stdin") || ["/dev/fd", "/proc/self/fd"].iter().any(|dir| path.starts_with(dir));
    if is_stream {
        return File::open(path);
    }
    // Without this flag the open of a FIFO would block until another program writes to it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if found.is_file() {
        return Ok(file);
    }
    if found.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    Err(std::io::Error::other("it is no regular file; write `-` for standard input"))
}

/// Returns the paths at which a file is looked for when none was named, in this order.
pub fn candidates(xdg_config_home: Option<&OsStr>, home: Option<&OsStr>) -> Vec<PathBuf> {
    let xdg = xdg_config_home.filter(|dir| Path::new(dir).is_absolute()).map(PathBuf::from);
    let xdg = xdg.or_else(|| home.map(|home| Path::new(home).join(".config")));
    let user = xdg.map(|dir| dir.join("roundelay/roundelay.toml"));
    let system = PathBuf::from("/etc/roundelay/roundelay.toml");
    std::iter::once(PathBuf::from("roundelay.toml")).chain(user).chain([system]).collect()
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        let problems = Source::read(path).expect_err("refused");
        problems.to_string().replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn unreadable_file_is_reported_in_words() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(refused(dir.path()), "error: cannot read FILE: it is a directory\n");
        assert_eq!(refused(&dir.path().join("x")), "error: cannot read FILE: there is no such file\n");
        let long = dir.path().join("long.toml");
        std::fs::write(&long, vec![b'\n'; (1 << 20) + 1]).expect("written");
        assert_eq!(refused(&long), "error: FILE is longer than 1 MiB: is it a configuration?\n");
    }

    #[test]
    fn fifo_or_device_is_refused_without_blocking() {
        let dir = tempfile::tempdir().expect("a directory");
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).expect("a FIFO");
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let refused = [&*fifo, Path::new("/dev/zero"), Path::new("/dev/null")].map(refused);
            done.send(refused)
        });
        let expected = "error: cannot read FILE: it is no regular file; write `-` for standard input\n";
        let said = ended.recv_timeout(std::time::Duration::from_secs(20));
        assert_eq!(said, Ok([(); 3].map(|()| expected.to_owned())));
    }

    #[test]
    fn source_readable_once_is_refused_the_second_time() {
        let again = |path: &Path| Source::read_again(path).expect_err("refused").to_string();
        let expected = "error: the configuration came from standard input, which cannot be read again\n";
        assert_eq!(again(Path::new("-")), expected);
        assert_eq!(again(Path::new("/dev/null")), "error: /dev/null is no plain file, and cannot be read again\n");
        assert_eq!(again(Path::new("/nowhere/x")), "error: cannot read /nowhere/x: there is no such file\n");
    }

    #[test]
    fn bytes_that_are_not_text_are_shown_at_their_position() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("latin1.toml");
        std::fs::write(&path, b"[pool.a]\ncwd = \"caf\xe9\"\n").expect("written");
        let expected = "error: the file is not UTF-8 text
 --> FILE:2:11
  |
2 | cwd = \"caf\u{fffd}\"
  |           ^ here
1 error in FILE
";
        assert_eq!(refused(&path), expected);
    }

    #[test]
    fn nearest_file_comes_first() {
        let names = |xdg: Option<&str>, home: Option<&str>| {
            let found = candidates(xdg.map(OsStr::new), home.map(OsStr::new));
            found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        let system = "/etc/roundelay/roundelay.toml";
        assert_eq!(names(None, None), ["roundelay.toml", system]);
        assert_eq!(names(Some("/x"), Some("/h")), ["roundelay.toml", "/x/roundelay/roundelay.toml", system]);
        assert_eq!(names(Some(""), Some("/h")), ["roundelay.toml", "/h/.config/roundelay/roundelay.toml", system]);
    }
}
