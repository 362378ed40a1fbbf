//! The bytes of its answer that a worker may be ahead of what is read from it.
//!
//! If a worker closes its socket with a request unread, the kernel drops the bytes that the socket has not sent by
//! then: those for which our socket had no room. That may happen a millisecond after the connect. So a connection
//! begins with room for [`WIDE`], as long as few have that. It keeps the room while the kernel reports that the worker
//! has left bytes of the client unread: an upload that it does not want, or a request that it has not read to its end.
//! If the worker has read everything, or all of a small answer was passed on, the room becomes [`USUAL`]: a client that
//! is merely slow gets no more.

use std::cell::{Cell, RefCell};
use std::os::fd::AsFd;

use crate::net::stream::Stream;
use crate::os::accept_queue::QueueReader;
use crate::os::socket_buffers::{make_room, take_room_back};

/// The room of most connections to a worker's port. The kernel's first window is 64 KiB.
const USUAL: i32 = 1 << 20;
/// The room while a worker leaves a request unread. It is as much as a direct client's kernel would take, which tunes
/// its buffer up to `net.ipv4.tcp_rmem` (6 MB by default). The kernel bounds ours by the same; its buffer may hold
/// twice the room.
const WIDE: i32 = 8 << 20;
/// Connections of a data thread that have the wide room at once: 64 MiB of room. The others have the usual. To give it back costs
/// five calls, which many short connections would pay for if this were large.
const MOST_WIDE: usize = 8;
/// The number of bytes, both ways, after which the kernel is asked for the first time. It is asked again after four
/// times as many, and so on.
const FIRST_LOOK: u32 = 64 << 10;

/// The number of bytes, both ways, below which an exchange is complete and not the beginning of a large answer.
const SMALL: u32 = 16 << 10;

thread_local! {
    /// A connection never changes its thread, so each counts its own.
    static WIDE_NOW: Cell<usize> = const { Cell::new(0) };
    /// The reader is made when it is first needed.
    static READER: RefCell<Option<QueueReader>> = const { RefCell::new(None) };
}

/// The room of a connection to a worker's port.
#[derive(Debug, Default)]
pub(crate) enum Room {
    #[default]
    Usual,
    /// Wide since the connect. Whether it is needed is not known yet.
    Early(RoomPermit),
    /// Wide, since a request is left unread.
    Wide(RoomPermit),
    /// Wide and not needed, but the kernel does not take the room back.
    Kept(#[allow(dead_code, reason = "given back when dropped")] RoomPermit),
}

impl Room {
    /// Makes room for a socket that is about to connect.
    pub(crate) fn begin(socket: impl AsFd) -> Self {
        let permit = RoomPermit::take();
        make_room(socket, if permit.is_some() { WIDE } else { USUAL });
        permit.map_or(Room::Usual, Room::Early)
    }
}

/// The room of one connection, and the time of the next look if it is the right one.
#[derive(Debug)]
pub(super) struct ReadAhead {
    /// Bytes, both ways. It stays at 4 GiB, beyond which there are no more looks.
    moved: u32,
    next_look: u32,
    room: Room,
}

/// A part of [`MOST_WIDE`], given back when dropped. It holds nothing: an idle connection pays for each byte.
#[derive(Debug)]
pub(crate) struct RoomPermit(());

impl RoomPermit {
    fn take() -> Option<Self> {
        let used = WIDE_NOW.get();
        (used < MOST_WIDE).then(|| {
            WIDE_NOW.set(used + 1);
            Self(())
        })
    }
}

impl Drop for RoomPermit {
    fn drop(&mut self) {
        // Dropped while the thread ends, there is no count any more.
        let _ = WIDE_NOW.try_with(|used| used.set(used.get() - 1));
    }
}

/// The next action for the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Ask the kernel what the worker has left unread.
    Look,
    Narrow,
}

impl Default for ReadAhead {
    fn default() -> Self {
        Self::with(Room::Usual)
    }
}

impl ReadAhead {
    pub(super) fn with(room: Room) -> Self {
        Self { moved: 0, next_look: FIRST_LOOK, room }
    }

    /// Counts bytes that went one way or the other.
    pub(super) fn moved(&mut self, n: usize) {
        self.moved = self.moved.saturating_add(n.try_into().unwrap_or(u32::MAX));
    }

    /// Makes the room wide or usual if it is time to. `is_at_rest` tells that nothing more can be done now, and `is_idle` that
    /// the worker has answered and everything was passed on, too.
    pub(super) fn adjust(&mut self, is_at_rest: bool, is_idle: bool, upstream: &Stream) {
        match self.due(is_at_rest, is_idle) {
            Due::Nothing => {}
            Due::Narrow => self.narrow(upstream),
            Due::Look => self.look(upstream),
        }
    }

    fn due(&mut self, is_at_rest: bool, is_idle: bool) -> Due {
        match self.room {
            Room::Usual | Room::Early(_) if self.moved >= self.next_look && self.moved < u32::MAX => {
                self.next_look = self.moved.saturating_mul(4);
                Due::Look
            }
            Room::Early(_) if is_idle && self.moved < SMALL => Due::Narrow,
            Room::Early(_) if is_idle => Due::Look,
            Room::Wide(_) if is_at_rest => Due::Look,
            _ => Due::Nothing,
        }
    }

    /// Asks the kernel and sets the room. If the kernel does not tell, or the worker has closed, the room stays as it
    /// is.
    fn look(&mut self, upstream: &Stream) {
        self.room = match (std::mem::take(&mut self.room), unread(upstream)) {
            (Room::Usual, Some(1..)) => RoomPermit::take().map_or(Room::Usual, |permit| {
                make_room(upstream, WIDE);
                Room::Wide(permit)
            }),
            (Room::Early(permit), Some(1..) | None) => Room::Wide(permit),
            (Room::Early(permit) | Room::Wide(permit), Some(0)) => usual(permit, upstream),
            (room, _) => room,
        };
    }

    fn narrow(&mut self, upstream: &Stream) {
        self.room = match std::mem::take(&mut self.room) {
            Room::Early(permit) | Room::Wide(permit) => usual(permit, upstream),
            room => room,
        };
    }
}

/// Gives back the permit, unless the kernel leaves the room as it is.
fn usual(permit: RoomPermit, upstream: &Stream) -> Room {
    if take_room_back(upstream, USUAL) { Room::Usual } else { Room::Kept(permit) }
}

/// The bytes of the client that the worker has not read. A unix socket drops nothing, so it is not asked.
fn unread(upstream: &Stream) -> Option<u32> {
    let (own, worker) = upstream.tcp_addresses()?;
    READER.with_borrow_mut(|reader| {
        if reader.is_none() {
            *reader = QueueReader::new().ok();
        }
        reader.as_mut()?.unread(worker, own).ok()?
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::net::stream::Family;

    #[tokio::test]
    async fn room_is_wide_only_while_the_worker_left_bytes_unread() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let before = socket.recv_buffer_size().unwrap();
        let mut ahead = ReadAhead::with(Room::begin(&socket));
        let early = socket.recv_buffer_size().unwrap();
        assert!(early > before && matches!(ahead.room, Room::Early(_)));
        socket.connect(&listener.local_addr().unwrap().into()).unwrap();
        (&socket).write_all(b"12345").unwrap();
        let (mut worker, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let upstream = Stream::register(socket.into(), Family::Tcp).unwrap();

        ahead.moved(64 << 10);
        ahead.adjust(false, false, &upstream);
        assert!(matches!(ahead.room, Room::Wide(_)), "five bytes are unread");
        worker.read_exact(&mut [0; 5]).unwrap();
        ahead.adjust(true, false, &upstream);
        let Room::Usual = ahead.room else {
            assert!(matches!(ahead.room, Room::Kept(_)), "a kernel before 5.14");
            return;
        };
        assert!(socket2::SockRef::from(&upstream).recv_buffer_size().unwrap() < early);

        socket2::SockRef::from(&upstream).send(b"123").unwrap();
        ahead.moved(1 << 20);
        ahead.adjust(false, false, &upstream);
        assert!(matches!(ahead.room, Room::Wide(_)), "three bytes are unread");
        assert_eq!(socket2::SockRef::from(&upstream).recv_buffer_size().unwrap(), early);
    }

    #[test]
    fn usual_room_is_looked_at_after_fourfold_bytes() {
        let mut ahead = ReadAhead::default();
        let mut looks = Vec::new();
        for kib in 1..=4096 {
            ahead.moved(1024);
            if ahead.due(true, true) == Due::Look {
                looks.push(kib);
            }
        }
        assert_eq!(looks, [64, 256, 1024, 4096]);
    }

    #[test]
    fn early_room_is_narrowed_once_a_small_answer_is_done() {
        let mut ahead = ReadAhead::with(Room::Early(RoomPermit::take().unwrap()));
        ahead.moved(1000);
        assert_eq!([false, true].map(|is_idle| ahead.due(true, is_idle)), [Due::Nothing, Due::Narrow]);
        ahead.moved(16 << 10);
        assert_eq!(ahead.due(true, true), Due::Look, "a large one may be of a worker that read nothing");
    }

    #[test]
    fn wide_room_is_looked_at_whenever_at_rest() {
        let mut ahead = ReadAhead::with(Room::Wide(RoomPermit::take().unwrap()));
        ahead.moved(100 << 20);
        let dues = [false, true, true].map(|is_at_rest| ahead.due(is_at_rest, true));
        assert_eq!(dues, [Due::Nothing, Due::Look, Due::Look]);
    }

    #[test]
    fn permits_of_the_wide_room_are_bounded_and_given_back() {
        let mut permits: Vec<_> = std::iter::from_fn(RoomPermit::take).take(2 * MOST_WIDE).collect();
        assert_eq!(permits.len(), MOST_WIDE);
        permits.pop();
        assert!(RoomPermit::take().is_some());
        drop(permits);
        assert_eq!(WIDE_NOW.get(), 0);
    }
}
