//! Runs CPU-heavy work outside of the thread that serves.
//!
//! A worker that computes in its accept loop answers no client meanwhile, and no health check either. Tokio's own
//! `spawn_blocking` keeps the loop free, but its queue has no bound, so an overloaded worker grows until it dies. Here
//! the number of threads and the length of the queue are fixed, and work that does not fit is refused at once, while
//! refusing is still cheap.

use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads with a bounded queue. Clones share both. The threads end after the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Offload {
    queue: SyncSender<Job>,
}

/// The reason why a closure did not run to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffloadError {
    /// All threads are busy and the queue is full. Answer "busy" (HTTP 503) instead of waiting.
    #[error("every compute thread is busy and the queue is full")]
    Full,
    /// The closure panicked. Its thread goes on.
    #[error("the computation panicked")]
    Panicked,
}

impl Offload {
    /// Starts `threads` threads. At most `queue` closures wait for a thread; with 0 a closure is taken only by an idle
    /// thread.
    ///
    /// Use one thread if there are as many workers as cores. Choose the queue by the time that a client would wait: the
    /// length of the queue times the time of one closure, divided by the number of threads.
    ///
    /// # Errors
    ///
    /// Fails if a thread cannot be started.
    pub fn new(threads: NonZeroUsize, queue: usize) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        for i in 0..threads.get() {
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new().name(format!("offload-{i}")).spawn(move || work(&receiver))?;
        }
        Ok(Self { queue: sender })
    }

    /// Runs `closure` on one of the threads and waits for its result without blocking the caller's thread.
    ///
    /// Cancel safe: dropping the future abandons the result. A closure that is still in the queue is then skipped; a
    /// running closure is not interrupted. In a task of [`Worker::spawn`](crate::Worker::spawn) a drain waits for the
    /// closure.
    ///
    /// # Errors
    ///
    /// Returns [`OffloadError::Full`] at once if there is no room, and [`OffloadError::Panicked`] if the closure
    /// panics.
    pub async fn run<T: Send + 'static>(
        &self,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OffloadError> {
        let (result, outcome) = oneshot::channel();
        let job = Box::new(move || {
            if !result.is_closed() {
                let _ = result.send(closure());
            }
        });
        match self.queue.try_send(job) {
            Ok(()) => outcome.await.map_err(|_| OffloadError::Panicked),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(OffloadError::Full),
        }
    }
}

/// Runs jobs on one thread. The lock is held while waiting, so an idle thread waits either for the lock or for a job.
fn work(receiver: &Mutex<Receiver<Job>>) {
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // The panic message is already on standard error. The caller sees that its result was dropped.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Sender, channel};

    fn pool(threads: usize, queue: usize) -> Offload {
        Offload::new(NonZeroUsize::new(threads).expect("threads"), queue).expect("pool")
    }

    /// Starts a job that runs until the sender is dropped. Returns when the job has begun.
    async fn occupy(pool: &Offload) -> (Sender<()>, tokio::task::JoinHandle<Result<(), OffloadError>>) {
        let (release, gate) = channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let pool = pool.clone();
        let job = tokio::spawn(async move {
            pool.run(move || {
                let _ = begun.send(());
                let _ = gate.recv();
            })
            .await
        });
        has_begun.await.expect("began");
        (release, job)
    }

    #[tokio::test]
    async fn result_is_returned_to_the_caller() {
        assert_eq!(pool(2, 8).run(|| 6 * 7).await, Ok(42));
    }

    #[tokio::test]
    async fn closure_beyond_the_queue_is_refused_at_once() {
        let pool = pool(1, 1);
        let (release, running) = occupy(&pool).await;
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(|| 1).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(pool.run(|| 2).await, Err(OffloadError::Full));
        drop(release);
        assert_eq!(waiting.await.expect("task"), Ok(1));
        assert_eq!(running.await.expect("task"), Ok(()));
    }

    #[tokio::test]
    async fn panic_loses_one_result_and_no_thread() {
        let pool = pool(1, 1);
        assert_eq!(pool.run(|| panic!("on purpose")).await, Err::<(), _>(OffloadError::Panicked));
        assert_eq!(pool.run(|| 1).await, Ok(1));
    }

    #[tokio::test]
    async fn abandoned_closure_in_the_queue_is_skipped() {
        let pool = pool(1, 2);
        let (release, running) = occupy(&pool).await;
        let ran = Arc::new(AtomicBool::new(false));
        let abandoned = tokio::spawn({
            let (pool, ran) = (pool.clone(), Arc::clone(&ran));
            async move { pool.run(move || ran.store(true, Ordering::SeqCst)).await }
        });
        tokio::task::yield_now().await;
        abandoned.abort();
        let _ = abandoned.await;
        drop(release);
        running.await.expect("task").expect("ran");
        pool.run(|| ()).await.expect("the next closure");
        assert!(!ran.load(Ordering::SeqCst));
    }
}
