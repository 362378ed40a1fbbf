//! A long body made of a pattern, which shows if a byte was lost or doubled on the way.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The byte at offset i is i mod 251. 251 is a prime, so buffers of any usual size cut the pattern at every position.
pub(super) const PERIOD: usize = 251;

/// 256 periods, about 64 KB: large enough to be cheap. A chunk has whole periods, so that each begins with the same
/// byte.
const CHUNK: usize = PERIOD * 256;

/// The pattern, made once and shared by all answers.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Bytes);

/// A body of a given length that streams the pattern.
#[derive(Debug)]
pub(super) struct Blob {
    chunk: Bytes,
    left: u64,
}

impl Pattern {
    pub(super) fn new() -> Self {
        Self((0..PERIOD as u8).cycle().take(CHUNK).collect())
    }

    pub(super) fn blob(&self, length: u64) -> Blob {
        Blob { chunk: self.0.clone(), left: length }
    }
}

impl Body for Blob {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.chunk.len());
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(self.chunk.slice(..length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
