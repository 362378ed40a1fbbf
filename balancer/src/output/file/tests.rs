//! A log file on a disk that fails when the test says so, and on the real one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::rc::Rc;
use std::sync::Arc;

use super::super::queue::{Queue, Source};
use super::*;
use crate::stats::{SlotStats, Stream};

/// A disk with a limited number of free bytes.
#[derive(Debug, Default)]
struct Small {
    /// The contents by inode.
    files: BTreeMap<u64, Vec<u8>>,
    /// The inodes by number; 0 is the log itself.
    names: BTreeMap<u32, u64>,
    free: usize,
    is_read_only: bool,
}

type Shared = Rc<RefCell<Small>>;

impl Disk for Shared {
    type File = u64;

    fn path(&self) -> &Path {
        Path::new("app.log")
    }

    fn open(&mut self) -> io::Result<u64> {
        let mut disk = self.borrow_mut();
        if disk.is_read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let fresh = disk.files.len() as u64;
        let inode = *disk.names.entry(0).or_insert(fresh);
        disk.files.entry(inode).or_default();
        Ok(inode)
    }

    fn append(&mut self, file: &mut u64, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.borrow_mut();
        if disk.free == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let fits = bytes.len().min(disk.free);
        disk.free -= fits;
        disk.files.get_mut(file).unwrap().extend_from_slice(&bytes[..fits]);
        Ok(fits)
    }

    fn size(&self, file: &u64) -> io::Result<u64> {
        Ok(self.borrow().files[file].len() as u64)
    }

    fn is_torn(&self, file: &u64) -> io::Result<bool> {
        Ok(!self.borrow().files[file].ends_with(b"\n"))
    }

    fn take_back(&mut self, file: &mut u64, bytes: u64) -> io::Result<()> {
        let mut disk = self.borrow_mut();
        disk.free += bytes as usize;
        let contents = disk.files.get_mut(file).unwrap();
        contents.truncate(contents.len() - bytes as usize);
        Ok(())
    }

    fn is_at_path(&self, file: &u64) -> io::Result<bool> {
        Ok(self.borrow().names.get(&0) == Some(file))
    }

    fn put_aside(&mut self, keep: u32) -> io::Result<()> {
        let mut disk = self.borrow_mut();
        for (from, to) in rotation::renamings(keep, |number| disk.names.contains_key(&number)) {
            let inode = disk.names.remove(&from).unwrap();
            disk.names.insert(to, inode);
        }
        Ok(())
    }
}

fn small(free: usize) -> Shared {
    Rc::new(RefCell::new(Small { free, ..Small::default() }))
}

fn text(disk: &Shared, number: u32) -> Option<String> {
    let disk = disk.borrow();
    let inode = disk.names.get(&number)?;
    Some(String::from_utf8(disk.files[inode].clone()).unwrap())
}

fn batch(lines: &[&str]) -> Batch {
    let (queue, source) =
        (Queue::default(), Source { stream: Stream::Stdout, worker: Some(Arc::<SlotStats>::default()) });
    for line in lines {
        queue.push([format!("{line}\n").as_bytes()], &source);
    }
    queue.take().unwrap()
}

fn now() -> Instant {
    Instant::now()
}

#[test]
fn line_that_does_not_fit_starts_new_file() {
    let disk = small(1000);
    let mut log = LogFile::open(Rc::clone(&disk), 10, 2, now()).unwrap();
    log.write(&mut batch(&["aaaa", "bbbb", "cccc", "dddd", "ee"]), now()).unwrap();
    let files = [0, 1, 2].map(|number| text(&disk, number).unwrap());
    assert_eq!(files, ["ee\n", "cccc\ndddd\n", "aaaa\nbbbb\n"]);
    log.write(&mut batch(&["ffffff", "gggg"]), now()).unwrap();
    let files = [0, 1, 2].map(|number| text(&disk, number).unwrap());
    assert_eq!(files, ["gggg\n", "ee\nffffff\n", "cccc\ndddd\n"], "the oldest went");
    // A line that fits nowhere has a file of its own.
    log.write(&mut batch(&["a line that is longer than a file", "h"]), now()).unwrap();
    assert_eq!(text(&disk, 1).unwrap(), "a line that is longer than a file\n");
}

#[test]
fn full_disk_gets_no_torn_line_and_the_rest_later() {
    let disk = small(13);
    let mut log = LogFile::open(Rc::clone(&disk), 1000, 2, now()).unwrap();
    let mut batch = batch(&["aaaa", "bbbb", "cccc", "dddd"]);
    for _ in 0..3 {
        assert_eq!(log.write(&mut batch, now()).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(text(&disk, 0).unwrap(), "aaaa\nbbbb\n");
    }
    disk.borrow_mut().free = 100;
    log.write(&mut batch, now()).unwrap();
    assert_eq!(text(&disk, 0).unwrap(), "aaaa\nbbbb\ncccc\ndddd\n");
    assert!(batch.is_empty());
}

#[test]
fn disk_that_was_read_only_is_written_again() {
    let disk = small(100);
    let mut log = LogFile::open(Rc::clone(&disk), 1000, 2, now()).unwrap();
    disk.borrow_mut().free = 0;
    let mut batch = batch(&["aaaa"]);
    assert!(log.write(&mut batch, now()).is_err());
    disk.borrow_mut().is_read_only = true;
    assert_eq!(log.write(&mut batch, now()).unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    disk.borrow_mut().free = 100;
    disk.borrow_mut().is_read_only = false;
    log.write(&mut batch, now()).unwrap();
    assert_eq!(text(&disk, 0).unwrap(), "aaaa\n");
}

#[test]
fn file_with_torn_last_line_continues_on_new_line() {
    let disk = small(100);
    disk.borrow_mut().files.insert(0, b"whole\nto".to_vec());
    disk.borrow_mut().names.insert(0, 0);
    let mut log = LogFile::open(Rc::clone(&disk), 1000, 2, now()).unwrap();
    log.write(&mut batch(&["next"]), now()).unwrap();
    assert_eq!(text(&disk, 0).unwrap(), "whole\nto\nnext\n");
}

#[test]
fn renamed_or_deleted_file_is_recreated_within_a_second() {
    let disk = small(1000);
    let begun = now();
    let mut log = LogFile::open(Rc::clone(&disk), 100, 2, begun).unwrap();
    log.write(&mut batch(&["one"]), begun).unwrap();
    let inode = disk.borrow_mut().names.remove(&0).unwrap();
    disk.borrow_mut().names.insert(7, inode);
    // The path is not checked at each write.
    log.write(&mut batch(&["two"]), begun + LOOK / 2).unwrap();
    log.write(&mut batch(&["three"]), begun + LOOK).unwrap();
    assert_eq!((text(&disk, 7).unwrap(), text(&disk, 0).unwrap()), ("one\ntwo\n".to_owned(), "three\n".to_owned()));
}

#[test]
fn file_rotated_by_others_is_not_rotated_again() {
    let disk = small(1000);
    let begun = now();
    let mut log = LogFile::open(Rc::clone(&disk), 10, 2, begun).unwrap();
    log.write(&mut batch(&["12345678"]), begun).unwrap();
    let inode = disk.borrow_mut().names.remove(&0).unwrap();
    disk.borrow_mut().names.insert(7, inode);
    log.write(&mut batch(&["next"]), begun).unwrap();
    assert_eq!((text(&disk, 0), text(&disk, 1)), (Some("next\n".to_owned()), None));
}

#[test]
fn truncated_file_size_is_read_again() {
    let disk = small(1000);
    let begun = now();
    let mut log = LogFile::open(Rc::clone(&disk), 10, 2, begun).unwrap();
    log.write(&mut batch(&["12345678"]), begun).unwrap();
    disk.borrow_mut().files.get_mut(&0).unwrap().clear();
    log.write(&mut batch(&["next"]), begun + LOOK).unwrap();
    assert_eq!((text(&disk, 0), text(&disk, 1)), (Some("next\n".to_owned()), None));
}

fn real(path: &Path) -> io::Result<LogFile<Folder>> {
    LogFile::open(Folder::of(path)?, 10, 2, now())
}

#[test]
fn real_files_rotate_and_links_are_replaced_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let [path, first, second, third] = ["a.log", "a.log.1", "a.log.2", "a.log.3"].map(|name| dir.path().join(name));
    let victim = dir.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    symlink(&victim, &first).unwrap();
    let mut log = real(&path).unwrap();
    log.write(&mut batch(&["12345678", "abcdefgh", "ABCDEFGH", "end"]), now()).unwrap();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!([&path, &first, &second].map(|path| read(path)), ["end\n", "ABCDEFGH\n", "abcdefgh\n"]);
    assert!(!third.exists());
    assert_eq!(read(&victim), "precious");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0, "at most 0640");
    std::fs::remove_file(&path).unwrap();
    log.write(&mut batch(&["new"]), now() + LOOK).unwrap();
    assert_eq!(read(&path), "new\n");
    // An obstacle to a renaming is an error, and no line is lost.
    std::fs::remove_file(&second).unwrap();
    std::fs::create_dir(&second).unwrap();
    let mut more = batch(&["12345678"]);
    assert!(log.write(&mut more, now()).is_err());
    assert!(log.write(&mut more, now()).is_err());
    assert_eq!([&path, &first].map(|path| read(path)), ["new\n", "ABCDEFGH\n"]);
    std::fs::remove_dir(&second).unwrap();
    log.write(&mut more, now()).unwrap();
    assert_eq!([&path, &first, &second].map(|path| read(path)), ["12345678\n", "new\n", "ABCDEFGH\n"]);
}

#[test]
fn full_file_with_keep_0_is_started_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let mut log = LogFile::open(Folder::of(&path).unwrap(), 10, 0, now()).unwrap();
    log.write(&mut batch(&["12345678", "abcdefgh"]), now()).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "abcdefgh\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn only_a_regular_file_is_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    symlink(at("elsewhere"), at("link")).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    for (name, what) in
        [("link", "a symbolic link"), ("folder", "a folder"), ("fifo", "a FIFO"), ("socket", "a socket")]
    {
        assert_eq!(real(&at(name)).unwrap_err().to_string(), format!("it is {what}, not a regular file"));
    }
    assert!(real(Path::new("/dev/full")).unwrap_err().to_string().contains("a device"));
    assert!(!at("elsewhere").exists());
    assert!(real(&at("no/such/a.log")).unwrap_err().to_string().contains("No such file"));
}
