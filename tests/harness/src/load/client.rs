//! A client: it has one connection at a time, and one request at a time on it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fastrand::Rng;
use roundelay_checker::{Class, End, Stage, classify, is_own_limit};
use rustix::io::Errno;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::answer::Answer;
use super::deadline::Deadline;
use super::request::Requests;
use super::tally::Tally;

/// The size of the read buffer, in bytes. A read that does not fill it has read everything, so no second read is
/// needed.
pub(super) const BUFFER: usize = 64 << 10;

/// The number of source addresses, from 127.0.0.2 on, for a target in 127.0.0.0/8. Each has its own 28 thousand ports,
/// and a balancer that hashes the client's address sees many clients.
const SOURCES: u8 = 64;

/// The state that all clients of a load share; they run on one thread.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) target: SocketAddr,
    pub(super) requests: Requests,
    pub(super) requests_per_connection: Option<NonZeroU32>,
    pub(super) timeout: Duration,
    pub(super) random: RefCell<Rng>,
    pub(super) buffer: RefCell<Vec<u8>>,
    pub(super) tally: RefCell<Tally>,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A complete answer of status 200 to 399.
    Good,
    /// It failed with this class.
    Failed(Class),
    /// No connection could be made for it.
    Unconnected(Class),
    /// No connection could be made for it because this machine lacks ports, descriptors or memory.
    OwnLimit,
}

/// A client and its connection, if it has one.
#[derive(Debug)]
pub(super) struct Client {
    connection: Option<Connection>,
    answer: Answer,
    deadline: Deadline,
    source: Option<SocketAddr>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// The number of requests that were sent on it.
    requests: u32,
}

impl Client {
    /// Returns the client with that number; it connects at its first request.
    pub(super) fn new(target: SocketAddr, number: usize) -> Self {
        let source = source(target, number);
        Self { connection: None, answer: Answer::default(), deadline: Deadline::new(), source }
    }

    /// Sends the next request, on the present connection or a new one, and reads its answer.
    pub(super) async fn ask(&mut self, shared: &Shared, now: Instant) -> Outcome {
        self.deadline.set(now + shared.timeout);
        let kept = self.connection.take().filter(|connection| !connection.has_ended());
        let mut connection = match kept {
            Some(connection) => connection,
            None => match self.deadline.guard(open(shared.target, self.source)).await {
                Some(Ok(connection)) => connection,
                Some(Err(None)) => return Outcome::OwnLimit,
                Some(Err(Some(end))) => return unconnected(&end),
                None => return unconnected(&End::Deadline),
            },
        };
        let is_kept = connection.requests > 0;
        connection.requests = connection.requests.saturating_add(1);
        let is_last = shared.requests_per_connection.is_some_and(|most| connection.requests >= most.get());
        let request = shared.requests.pick(&mut shared.random.borrow_mut());
        self.answer.begin(request.is_head);
        let exchange = connection.exchange(request.bytes(is_last), &mut self.answer, &shared.buffer);
        match self.deadline.guard(exchange).await.unwrap_or(Err(End::Deadline)) {
            Ok(is_whole) => {
                if is_whole && self.answer.keeps() && !is_last {
                    self.connection = Some(connection);
                }
                let is_good = (200..400).contains(&self.answer.status());
                if is_good { Outcome::Good } else { Outcome::Failed(Class::BadStatus) }
            }
            Err(end) => {
                let received = self.answer.received();
                Outcome::Failed(classify(Stage { is_connected: true, is_kept, sent: 0, received }, &end))
            }
        }
    }

    /// Returns the last answer.
    pub(super) fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Closes an idle connection that the server has ended, or registers the task to be woken when it does.
    pub(super) fn watch(&mut self, context: &mut Context<'_>) {
        while let Some(connection) = &self.connection {
            if connection.stream.poll_read_ready(context).is_pending() {
                return;
            }
            if connection.has_ended() {
                self.connection = None;
            }
        }
    }
}

impl Connection {
    /// Returns true if the server has ended the connection or sent something unrequested, as far as the runtime knows.
    /// It makes no system call for a connection on which nothing has happened.
    fn has_ended(&self) -> bool {
        let found = self.stream.try_read(&mut [0]);
        !matches!(found, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Writes and reads at the same time until the answer is complete. Returns true if the whole request was sent. If
    /// this is cancelled, the connection is left within an exchange.
    ///
    /// # Errors
    ///
    /// The reason why it ended early. A request that cannot be written is not one: the answer to its first part may be
    /// on its way.
    async fn exchange(&mut self, request: &[u8], answer: &mut Answer, buffer: &RefCell<Vec<u8>>) -> Result<bool, End> {
        let mut unsent = request;
        let mut refused: Option<Errno> = None;
        poll_fn(|context| {
            while !unsent.is_empty() && refused.is_none() {
                match Pin::new(&mut self.stream).poll_write(context, unsent) {
                    Poll::Ready(Ok(bytes)) => unsent = unsent.get(bytes..).unwrap_or_default(),
                    Poll::Ready(Err(error)) => refused = Some(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
                    Poll::Pending => break,
                }
            }
            let mut buffer = buffer.borrow_mut();
            loop {
                let mut into = ReadBuf::new(&mut buffer);
                let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut into));
                read.map_err(|error| End::from_io(&error))?;
                match into.filled() {
                    [] => answer.end().map_err(|end| end.unless_reset(refused))?,
                    bytes => answer.read(bytes)?,
                }
                if answer.is_complete() {
                    return Poll::Ready(Ok(unsent.is_empty()));
                }
            }
        })
        .await
    }
}

/// Opens a new connection.
///
/// # Errors
///
/// The class of the failed connect; `None` if this machine has run out of something.
async fn open(target: SocketAddr, source: Option<SocketAddr>) -> Result<Connection, Option<End>> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(|_| None)?;
    if let Some(source) = source {
        // Fails if no port is left at that address.
        socket.bind(source).map_err(|_| None)?;
    }
    let connect = async {
        let stream = socket.connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    match connect.await {
        Ok(stream) => Ok(Connection { stream, requests: 0 }),
        Err(error) => {
            let end = End::from_io(&error);
            Err((!is_own_limit(Stage::default(), &end)).then_some(end))
        }
    }
}

fn unconnected(end: &End) -> Outcome {
    Outcome::Unconnected(classify(Stage::default(), end))
}

/// Returns the source address of a client; `None` if the kernel chooses it.
fn source(target: SocketAddr, number: usize) -> Option<SocketAddr> {
    let IpAddr::V4(address) = target.ip() else { return None };
    let last = u8::try_from(number % usize::from(SOURCES)).unwrap_or(0) + 2;
    address.is_loopback().then(|| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::plan::Request;

    #[test]
    fn clients_come_from_many_addresses_of_this_machine() {
        let target = SocketAddr::from(([127, 0, 0, 1], 80));
        let sources: std::collections::BTreeSet<_> = (0..1000).filter_map(|number| source(target, number)).collect();
        assert_eq!(sources.len(), usize::from(SOURCES));
        assert!(sources.iter().all(|source| source.ip().is_loopback() && source.ip() != target.ip()));
        assert_eq!(source("[::1]:80".parse().unwrap(), 3), None);
    }

    #[test]
    fn client_without_a_free_port_meets_a_limit_not_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let get = Request { method: "GET".to_owned(), path: "/".to_owned(), body: None, weight: 1.0 };
        let shared = Shared {
            target,
            requests: Requests::render(&[get], target).unwrap(),
            requests_per_connection: None,
            timeout: Duration::from_secs(20),
            random: RefCell::new(Rng::with_seed(1)),
            buffer: RefCell::new(vec![0; BUFFER]),
            tally: RefCell::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            // An address reserved for documents: this machine does not have it.
            let source = Some(SocketAddr::from(([192, 0, 2, 1], 0)));
            let mut client = Client { source, ..Client::new(target, 0) };
            client.ask(&shared, Instant::now()).await
        });
        assert_eq!(outcome, Outcome::OwnLimit);
    }
}
