//! The file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags, access};

use super::Disk;
use super::rotation::renamings;
use super::safe_dir;

/// A log file in its folder, beside the older files that were rotated from it: `app.log.1` is the newest of these.
#[derive(Debug)]
pub(in crate::output) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// # Errors
    ///
    /// No file can be renamed in the folder of `path`, the folder is missing, or root would write where another user
    /// could redirect it.
    pub(in crate::output) fn of(path: &Path) -> io::Result<Self> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("its folder {} cannot be written: {error}", folder.display()))
        })?;
        if rustix::process::geteuid().is_root() {
            safe_dir::check(folder)?;
        }
        Ok(Self { path: path.to_owned() })
    }

    /// The path of a rotated file; the log file itself is number 0.
    fn numbered(&self, number: u32) -> PathBuf {
        if number == 0 {
            return self.path.clone();
        }
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }
}

impl Disk for Folder {
    type File = File;

    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&mut self) -> io::Result<File> {
        // NONBLOCK, so that a FIFO at that path does not block us. The file is readable for the look at its last byte.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(0o640).custom_flags(flags);
        // The message names the kind of file found there. The errors of `open` for a symbolic link or a FIFO are hard
        // to understand.
        let refuse = |kind: fs::FileType| io::Error::other(format!("it is {}, not a regular file", in_words(kind)));
        if let Ok(found) = fs::symlink_metadata(&self.path)
            && !found.is_file()
        {
            return Err(refuse(found.file_type()));
        }
        let file = options.open(&self.path)?;
        let found = file.metadata()?;
        if found.is_file() { Ok(file) } else { Err(refuse(found.file_type())) }
    }

    fn append(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn size(&self, file: &File) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    fn is_torn(&self, file: &File) -> io::Result<bool> {
        let mut last = [b'\n'];
        let at = file.metadata()?.len().saturating_sub(1);
        Ok(file.read_at(&mut last, at)? == 1 && last != [b'\n'])
    }

    fn take_back(&mut self, file: &mut File, bytes: u64) -> io::Result<()> {
        file.set_len(file.metadata()?.len().saturating_sub(bytes))
    }

    fn is_at_path(&self, file: &File) -> io::Result<bool> {
        let held = file.metadata()?;
        match fs::symlink_metadata(&self.path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (held.dev(), held.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn put_aside(&mut self, keep: u32) -> io::Result<()> {
        if keep == 0 {
            return fs::remove_file(&self.path);
        }
        let exists = |number| fs::symlink_metadata(self.numbered(number)).is_ok();
        for (from, to) in renamings(keep, exists) {
            // A rename replaces a symbolic link and does not follow it.
            fs::rename(self.numbered(from), self.numbered(to))?;
        }
        Ok(())
    }
}

fn in_words(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}
