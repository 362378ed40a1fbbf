//! One request and its answer on a connection, written and read at the same time.

use std::cell::RefCell;

use rustix::io::Errno;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::connection::Connection;
use crate::failure::{End, Stage};
use crate::plan::Slow;
use crate::request::Request;

/// The number of reads and writes after which other operations get their turn.
const ROUNDS: u32 = 16;

const BUFFER: usize = 64 << 10;

thread_local! {
    /// One buffer for the bytes of all reads on this thread, since they are checked at once.
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// Options of an exchange.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Ends the sending side after the request, and reads to the end of the connection.
    pub(crate) half_close: bool,
    /// Pauses after each piece that was read.
    pub(crate) slow: Option<Slow>,
}

/// The progress of an operation. Stored outside of the operation, so that it is known also when the time is up.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) stage: Stage,
    pub(crate) first_byte: Option<Instant>,
}

/// Sends the request and reads until the answer is complete (with `half_close`, until the connection ends). If it is
/// cancelled, it leaves the connection within an exchange.
///
/// # Errors
///
/// Returns the cause of an early end. A request that cannot be written is no such cause, since the answer to the bytes
/// that arrived may be on its way.
pub(crate) async fn exchange(
    connection: &Connection,
    mut request: Request,
    answer: &mut Answer,
    manner: Manner,
    trace: &mut Trace,
) -> Result<(), End> {
    let mut unsent: Option<Errno> = None;
    let mut is_sending = true;
    let mut room = manner.slow.map_or(usize::MAX, |slow| slow.piece);
    for round in 1_u32.. {
        let mut has_moved = false;
        if is_sending {
            match connection.write(request.next()) {
                Ok(Some(bytes)) => {
                    request.advance(bytes);
                    trace.stage.sent += bytes as u64;
                    has_moved = true;
                }
                Ok(None) => {}
                Err(error) => unsent = Some(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
            is_sending = unsent.is_none() && !request.next().is_empty();
            if !is_sending && manner.half_close {
                connection.end_sending();
            }
        }
        match read(connection, answer, room, trace)? {
            Some(0) => return answer.end().map_err(|end| end.unless_reset(unsent)),
            Some(bytes) => {
                if answer.is_complete() && !manner.half_close {
                    return Ok(());
                }
                has_moved = true;
                room -= bytes;
                if let (0, Some(slow)) = (room, manner.slow) {
                    tokio::time::sleep(slow.pause).await;
                    room = slow.piece;
                }
            }
            None => {}
        }
        if !has_moved {
            connection.ready(is_sending).await.map_err(|error| End::from_io(&error))?;
        } else if round.is_multiple_of(ROUNDS) {
            tokio::task::yield_now().await;
        }
    }
    // No operation gets here within its time: this takes 2^32 rounds.
    Err(End::Deadline)
}

/// Reads once, at most `room` bytes. Returns the number of bytes, or `None` if there are none yet.
///
/// # Errors
///
/// Returns an error of the connection, or of the answer.
pub(crate) fn read(
    connection: &Connection,
    answer: &mut Answer,
    room: usize,
    trace: &mut Trace,
) -> Result<Option<usize>, End> {
    READ.with_borrow_mut(|buffer| {
        let into = &mut buffer[..room.min(BUFFER)];
        let Some(bytes) = connection.read(into).map_err(|error| End::from_io(&error))? else { return Ok(None) };
        if bytes > 0 {
            trace.first_byte.get_or_insert_with(Instant::now);
            trace.stage.received += bytes as u64;
            answer.read(&into[..bytes])?;
        }
        Ok(Some(bytes))
    })
}
