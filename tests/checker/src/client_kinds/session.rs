//! A websocket, or a connection that looks like one to a load balancer: it is open for long, and carries small messages
//! each of which comes back.
//!
//! Over HTTP a session is one `POST` with a body and an answer in chunks. The server has to answer while the request
//! still arrives. Messages are sent at their times, also while earlier ones are still on their way. At its end the
//! session ends its side and waits for the peer's end.

use std::collections::VecDeque;

use rustix::io::Errno;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Shared, Success};
use crate::answer::{Answer, Expected};
use crate::connection::Connection;
use crate::content::{Content, Token};
use crate::exchange::{Trace, read};
use crate::failure::End;
use crate::plan::Protocol;
use crate::schedule::Operation;

/// The bytes of one message, which is the token.
const MESSAGE: u64 = Token::LENGTH as u64;

/// A session that is running.
struct Session<'a> {
    shared: &'a Shared,
    operation: &'a Operation,
    connection: Connection,
    answer: Answer,
    /// Bytes that the kernel has not taken yet.
    unsent: Vec<u8>,
    /// The error after which the kernel takes no more bytes.
    broken: Option<Errno>,
    /// The times at which the messages on their way were due.
    waiting: VecDeque<Instant>,
    sent: u64,
    returned: u64,
}

pub(super) async fn run(shared: &Shared, operation: &Operation, trace: &mut Trace) -> Result<Success, End> {
    let plan = &shared.plan;
    let opening = Connection::open(&plan.targets[operation.target], None);
    let opened = timeout_at(Instant::now() + plan.timeout, opening).await.map_err(|_| End::Deadline)?;
    let connection = opened.map_err(|error| End::from_io(&error))?;
    trace.stage.is_connected = true;
    let content = Content::endless(operation.token);
    let answer = match plan.protocol {
        Protocol::Http(_) => Answer::http(Expected::Content(content)),
        Protocol::Tcp => Answer::bytes_to_end(content),
    };
    let mut session = Session {
        shared,
        operation,
        connection,
        answer,
        unsent: head(shared, operation),
        broken: None,
        waiting: VecDeque::new(),
        sent: 0,
        returned: 0,
    };
    session.messages(trace).await?;
    session.finish(trace).await?;
    Ok(Success { at: None, worker: session.answer.worker().map(str::to_owned) })
}

impl Session<'_> {
    /// Sends the messages at their times and reads the answers, until the last message is sent or the load ends.
    async fn messages(&mut self, trace: &mut Trace) -> Result<(), End> {
        let plan = &self.shared.plan;
        let mut ending = self.shared.ending.clone();
        let mut due = Instant::now();
        loop {
            if self.sent == plan.session.messages || (*ending.borrow_and_update() && self.sent > 0) {
                return Ok(());
            }
            self.flush(trace);
            let late = self.waiting.front().map_or(due, |oldest| *oldest) + plan.timeout;
            tokio::select! {
                ready = self.connection.ready(self.has_unsent()) => {
                    ready.map_err(|error| End::from_io(&error))?;
                    self.receive(trace)?;
                }
                () = sleep_until(due) => {
                    self.send(due);
                    due += plan.session.interval;
                }
                () = sleep_until(late) => return Err(End::Deadline),
                _ = ending.changed() => {}
            }
        }
    }

    /// Ends its side and reads to the peer's end.
    async fn finish(&mut self, trace: &mut Trace) -> Result<(), End> {
        let is_http = self.is_http();
        if is_http {
            self.unsent.extend_from_slice(b"0\r\n\r\n");
        }
        self.answer.cut(self.sent * MESSAGE);
        let deadline = Instant::now() + self.shared.plan.timeout;
        let mut has_ended = false;
        while !self.answer.is_complete() {
            self.flush(trace);
            if !is_http && !has_ended && self.unsent.is_empty() {
                self.connection.end_sending();
                has_ended = true;
            }
            let ready = timeout_at(deadline, self.connection.ready(self.has_unsent())).await;
            ready.map_err(|_| End::Deadline)?.map_err(|error| End::from_io(&error))?;
            self.receive(trace)?;
        }
        Ok(())
    }

    fn send(&mut self, due: Instant) {
        let token = self.operation.token;
        let message = if self.is_http() { format!("{MESSAGE:x}\r\n{token}\r\n") } else { token.to_string() };
        self.unsent.extend_from_slice(message.as_bytes());
        self.waiting.push_back(due);
        self.sent += 1;
    }

    /// Gives the kernel as many bytes as it takes. If the peer takes no more bytes, reading the peer's end shows it.
    fn flush(&mut self, trace: &mut Trace) {
        while self.has_unsent() {
            match self.connection.write(&self.unsent) {
                Ok(Some(bytes)) => {
                    self.unsent.drain(..bytes);
                    trace.stage.sent += bytes as u64;
                }
                Ok(None) => return,
                Err(error) => self.broken = Some(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        }
    }

    fn receive(&mut self, trace: &mut Trace) -> Result<(), End> {
        while let Some(bytes) = read(&self.connection, &mut self.answer, usize::MAX, trace)? {
            if bytes == 0 {
                return self.answer.end().map_err(|end| end.unless_reset(self.broken));
            }
            while (self.returned + 1) * MESSAGE <= self.answer.content() {
                let Some(due) = self.waiting.pop_front() else {
                    return Err(End::Wrong(format!("{} messages came back of {}", self.returned + 1, self.sent)));
                };
                self.returned += 1;
                let kind = self.operation.kind;
                self.shared.recorder.change(|record| {
                    record.message(kind, due.elapsed());
                    record.silence_mut().answered(self.shared.start.elapsed());
                });
            }
        }
        Ok(())
    }

    fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() && self.broken.is_none()
    }

    fn is_http(&self) -> bool {
        matches!(self.shared.plan.protocol, Protocol::Http(_))
    }
}

fn head(shared: &Shared, operation: &Operation) -> Vec<u8> {
    let plan = &shared.plan;
    match plan.protocol {
        Protocol::Http(_) => {
            let (path, token) = (&plan.paths.echo, operation.token);
            let target = &plan.targets[operation.target];
            let head = format!("POST {path}?{token} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n");
            (head + "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes()
        }
        Protocol::Tcp => Vec::new(),
    }
}
