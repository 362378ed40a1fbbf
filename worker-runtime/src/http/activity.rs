//! Observes if a request is in progress on a connection. hyper does not report it, so the stream and the service calls
//! are watched instead.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};

use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Stream;

/// The activity of a connection. Only one task writes and reads it, but the parts that hyper owns share it.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// A request is with the service, or hyper does not have the whole answer yet.
    is_answering: AtomicBool,
    /// Bytes came after the last answer: the beginning of a request.
    has_heard: AtomicBool,
    /// The client does not read the bytes that hyper has to send.
    is_blocked: AtomicBool,
    /// The client has sent its last byte, or the connection is broken.
    has_ended: AtomicBool,
    /// The next read that finds nothing ends the connection.
    is_closing: AtomicBool,
    /// Changes with each of the fields above and with each byte. This is a count and not a time, so that no request has
    /// to read the clock.
    moves: AtomicU32,
}

impl Activity {
    /// Returns a number that stays the same for as long as nothing happens on the connection.
    pub(super) fn moves(&self) -> u32 {
        self.moves.load(Relaxed)
    }

    /// Returns true if an answer, or a part of one, is pending.
    pub(super) fn is_answering(&self) -> bool {
        self.is_answering.load(Relaxed) || self.is_blocked.load(Relaxed)
    }

    /// Returns true if a part of a request has arrived.
    pub(super) fn has_heard(&self) -> bool {
        self.has_heard.load(Relaxed)
    }

    /// Returns true if the client has sent its last byte, or the connection is broken.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Relaxed)
    }

    /// Makes hyper's next read end the connection as if the client had left, unless there is something to read.
    pub(super) fn close_if_quiet(&self) {
        self.is_closing.store(true, Relaxed);
    }

    /// Records that a request goes to the service. Keep the returned value until the answer's body has ended.
    pub(super) fn begin_answer(self: &Arc<Self>) -> Answering {
        self.has_heard.store(false, Relaxed);
        self.is_answering.store(true, Relaxed);
        self.moved();
        Answering(Arc::clone(self))
    }

    fn moved(&self) {
        self.moves.store(self.moves().wrapping_add(1), Relaxed);
    }
}

/// An answer that is not complete. An HTTP/1 connection has one at a time.
#[derive(Debug)]
pub(super) struct Answering(Arc<Activity>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.is_answering.store(false, Relaxed);
        self.0.moved();
    }
}

/// The stream that hyper uses.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) stream: Stream,
    pub(super) activity: Arc<Activity>,
}

impl Watched {
    fn wrote<T>(&self, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.is_blocked.store(wrote.is_pending(), Relaxed);
        self.activity.moved();
        wrote
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let watched = self.get_mut();
        let activity = &watched.activity;
        let before = buffer.filled().len();
        let mut read = Pin::new(&mut watched.stream).poll_read(context, buffer);
        let is_last = read.is_pending() && activity.is_closing.load(Relaxed);
        if is_last {
            read = Poll::Ready(read_waiting(&watched.stream, buffer));
        }
        if read.is_pending() {
            return read;
        }
        activity.is_closing.store(false, Relaxed);
        activity.moved();
        if buffer.filled().len() > before {
            activity.has_heard.store(!activity.is_answering.load(Relaxed), Relaxed);
        } else if !is_last || matches!(read, Poll::Ready(Err(_))) {
            activity.has_ended.store(true, Relaxed);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let watched = self.get_mut();
        let wrote = Pin::new(&mut watched.stream).poll_write(context, bytes);
        watched.wrote(wrote)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let watched = self.get_mut();
        let wrote = Pin::new(&mut watched.stream).poll_write_vectored(context, slices);
        watched.wrote(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Reads the bytes that the kernel has at this moment, which the runtime may not know of yet. Reads nothing if there
/// are none.
fn read_waiting(stream: &Stream, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
    match rustix::net::recv(stream, buffer.initialize_unfilled(), RecvFlags::DONTWAIT) {
        Ok((_, count)) => {
            buffer.advance(count);
            Ok(())
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Reads once. Returns the bytes, or `None` if there are none.
    async fn read(watched: &mut Watched) -> Option<Vec<u8>> {
        let mut bytes = [0; 64];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = poll_fn(|context| Poll::Ready(Pin::new(&mut *watched).poll_read(context, &mut buffer))).await;
        match read {
            Poll::Pending => None,
            Poll::Ready(read) => read.map(|()| Some(buffer.filled().to_vec())).expect("read"),
        }
    }

    #[tokio::test]
    async fn bytes_unseen_by_the_runtime_are_read_before_the_end() {
        let (mut client, worker) = UnixStream::pair().expect("a pair");
        worker.set_nonblocking(true).expect("non-blocking");
        let stream = tokio::net::UnixStream::from_std(worker).expect("a stream").into();
        let activity = Arc::new(Activity::default());
        let mut watched = Watched { stream, activity: Arc::clone(&activity) };
        client.write_all(b"late").expect("written");
        assert_eq!(read(&mut watched).await, None, "the runtime has not polled the socket since");
        activity.close_if_quiet();
        assert_eq!(read(&mut watched).await, Some(b"late".to_vec()));
        assert!(activity.has_heard());
        assert_eq!(read(&mut watched).await, None, "`close_if_quiet` holds for one read");
        activity.close_if_quiet();
        assert_eq!(read(&mut watched).await, Some(Vec::new()));
        assert!(!activity.has_ended(), "the client is still there");
    }

    #[tokio::test]
    async fn bytes_during_an_answer_are_not_the_next_request() {
        let (client, worker) = tokio::net::UnixStream::pair().expect("a pair");
        let activity = Arc::new(Activity::default());
        let mut watched = Watched { stream: worker.into(), activity: Arc::clone(&activity) };
        let answering = activity.begin_answer();
        client.try_write(b"body").expect("written");
        watched.stream.readable().await.expect("readable");
        assert_eq!(read(&mut watched).await, Some(b"body".to_vec()));
        assert!(activity.is_answering() && !activity.has_heard());
        let moves = activity.moves();
        drop(answering);
        assert!(!activity.is_answering());
        assert_ne!(activity.moves(), moves);
        drop(client);
        watched.stream.readable().await.expect("readable");
        assert_eq!(read(&mut watched).await, Some(Vec::new()));
        assert!(activity.has_ended());
    }
}
