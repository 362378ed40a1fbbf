//! A writer whose disk fails and works again.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use roundelay_test_kit::wait_until;

use super::super::queue::MAX_QUEUED;
use super::*;
use crate::stats::SlotStats;

/// A disk that is full until a test changes that.
#[derive(Clone, Default)]
struct Fickle {
    works: Arc<AtomicBool>,
    is_gone: Arc<AtomicBool>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Disk for Fickle {
    type File = ();

    fn path(&self) -> &Path {
        Path::new("app.log")
    }

    fn open(&mut self) -> io::Result<()> {
        if self.is_gone.load(Ordering::SeqCst) { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) }
    }

    fn append(&mut self, (): &mut (), bytes: &[u8]) -> io::Result<usize> {
        if !self.works.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn size(&self, (): &()) -> io::Result<u64> {
        Ok(0)
    }

    fn is_torn(&self, (): &()) -> io::Result<bool> {
        Ok(false)
    }

    fn take_back(&mut self, (): &mut (), _bytes: u64) -> io::Result<()> {
        Ok(())
    }

    fn is_at_path(&self, (): &()) -> io::Result<bool> {
        Ok(true)
    }

    fn put_aside(&mut self, _keep: u32) -> io::Result<()> {
        Ok(())
    }
}

fn start(disk: &Fickle) -> (Writer, Arc<SlotStats>, Source) {
    let file = LogFile::open(disk.clone(), 1 << 30, 1, Instant::now()).unwrap();
    let stats = Arc::<SlotStats>::default();
    let source = Source { stream: Stream::Stdout, worker: Some(Arc::clone(&stats)) };
    (Writer::to_file("app", file).unwrap(), stats, source)
}

#[test]
fn full_disk_queues_lines_then_drops_then_writes_queued() {
    let disk = Fickle::default();
    let (writer, stats, source) = start(&disk);
    let line = [b"x".repeat(999), b"\n".to_vec()].concat();
    let count = 2 * MAX_QUEUED / line.len();
    for _ in 0..count {
        // `push` never waits, or this loop would not end.
        writer.push([line.as_slice()], &source);
    }
    let dropped = stats.log_dropped[0].get();
    assert!(dropped > 0);
    assert_eq!(stats.log_lines[0].get(), 0);
    disk.works.store(true, Ordering::SeqCst);
    wait_until("what waited", || stats.log_lines[0].get() + dropped == count as u64);
    assert_eq!(stats.log_dropped[0].get(), dropped);
    assert_eq!(disk.written.lock().unwrap().len() as u64, (count as u64 - dropped) * line.len() as u64);
}

#[test]
fn flush_counts_unwritable_lines_and_does_not_wait() {
    let disk = Fickle::default();
    let (writer, stats, source) = start(&disk);
    for _ in 0..5000 {
        writer.push([&b"a line that finds no room\n"[..]], &source);
    }
    writer.flush(Instant::now() + Duration::from_secs(600));
    assert_eq!((stats.log_lines[0].get(), stats.log_dropped[0].get()), (0, 5000));
}

#[test]
fn flush_with_missing_folder_does_not_wait() {
    let disk = Fickle::default();
    let (writer, stats, source) = start(&disk);
    disk.is_gone.store(true, Ordering::SeqCst);
    writer.push([&b"a line that finds no folder\n"[..]], &source);
    let (begun, patience) = (Instant::now(), Duration::from_secs(20));
    writer.flush(begun + patience);
    assert!(begun.elapsed() < patience, "it was given up and not tried for ever");
    assert_eq!(stats.log_dropped[0].get(), 1);
}
