//! The request of each kind of client, and the answer that must come back. Pure.

use crate::answer::{Answer, Expected};
use crate::client_kinds::ClientKind;
use crate::content::Content;
use crate::plan::{Ask, Plan, Protocol};
use crate::schedule::Operation;

/// The largest size at which head and body are one piece, so that a small request is one write.
const ONE_PIECE: u64 = 16 << 10;

/// A request that is being sent.
#[derive(Debug)]
pub(crate) struct Request {
    head: Vec<u8>,
    body: Content,
    /// The number of bytes of head and body that were sent.
    sent: u64,
}

impl Request {
    /// Makes the request of one operation.
    pub(crate) fn new(plan: &Plan, operation: &Operation) -> Self {
        let Operation { token, kind, bytes, .. } = *operation;
        let body = || Content::repeated(token.to_string().as_bytes(), bytes);
        let Some(ask) = ask(plan, kind) else { return Self::from(Vec::new(), body()) };
        let paths = &plan.paths;
        let target = &plan.targets[operation.target];
        let close = if keeps(kind) { "" } else { "Connection: close\r\n" };
        // With the token in the target, a request can be found in access logs. A GET has the token nowhere else.
        match ask {
            Ask::Echo => {
                let path = &paths.echo;
                let head = format!(
                    "POST {path}?{token} HTTP/1.1\r\nHost: {target}\r\nContent-Type: text/plain\r\nContent-Length: \
                     {bytes}\r\n{close}\r\n"
                );
                Self::from(head.into_bytes(), body())
            }
            Ask::Blob | Ask::Worker | Ask::Page => {
                let path = match ask {
                    Ask::Worker => paths.worker.clone(),
                    Ask::Page => paths.page.clone(),
                    Ask::Blob | Ask::Echo => format!("{}{bytes}", paths.blob),
                };
                let and = if path.contains('?') { '&' } else { '?' };
                let head = format!("GET {path}{and}{token} HTTP/1.1\r\nHost: {target}\r\n{close}\r\n");
                Self::from(head.into_bytes(), Content::counting(0))
            }
        }
    }

    fn from(mut head: Vec<u8>, body: Content) -> Self {
        let length = body.length();
        if length > ONE_PIECE {
            return Self { head, body, sent: 0 };
        }
        // A content that is no longer than a block is one piece.
        head.extend_from_slice(body.piece(0));
        Self { head, body: body.cut(0), sent: 0 }
    }

    /// Returns the next bytes to send. Empty when all are sent.
    pub(crate) fn next(&self) -> &[u8] {
        let head = self.head.len() as u64;
        match usize::try_from(self.sent) {
            Ok(sent) if self.sent < head => &self.head[sent..],
            _ => self.body.piece(self.sent - head),
        }
    }

    /// Records that this many of them were sent.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }
}

/// Returns the answer that must come back for one operation.
pub(crate) fn answer(plan: &Plan, operation: &Operation) -> Answer {
    let Operation { token, kind, bytes, .. } = *operation;
    let echo = || Content::repeated(token.to_string().as_bytes(), bytes);
    match ask(plan, kind) {
        Some(Ask::Echo) => Answer::http(Expected::Content(echo())),
        Some(Ask::Blob) => Answer::http(Expected::Content(Content::counting(bytes))),
        Some(Ask::Worker) => Answer::http(Expected::Worker),
        Some(Ask::Page) => Answer::http(Expected::Any),
        // A client that ends its side gets all bytes back, and then the end.
        None if kind == ClientKind::HalfClose => Answer::bytes_to_end(echo()),
        None => Answer::bytes(echo()),
    }
}

/// Returns the answer that the request asks for, or `None` if the protocol is not HTTP.
fn ask(plan: &Plan, kind: ClientKind) -> Option<Ask> {
    let Protocol::Http(ask) = plan.protocol else { return None };
    Some(match kind {
        ClientKind::Upload | ClientKind::WebSocket => Ask::Echo,
        ClientKind::SlowReader => Ask::Blob,
        ClientKind::OneShot | ClientKind::KeepAlive | ClientKind::Stubborn | ClientKind::HalfClose => ask,
    })
}

fn keeps(kind: ClientKind) -> bool {
    matches!(kind, ClientKind::KeepAlive | ClientKind::Stubborn)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::content::Token;

    fn all(plan: &Plan, kind: ClientKind, bytes: u64) -> String {
        let operation = Operation { token: Token::new(1, 2), at: std::time::Duration::ZERO, kind, target: 0, bytes };
        let mut request = Request::new(plan, &operation);
        let mut sent = Vec::new();
        while let piece = request.next().to_vec()
            && !piece.is_empty()
        {
            // Never sends the whole piece, as a socket may do.
            let some = piece.len().div_ceil(2);
            sent.extend_from_slice(&piece[..some]);
            request.advance(some);
        }
        String::from_utf8(sent).unwrap()
    }

    #[test]
    fn request_of_each_kind_has_its_bytes() {
        let mut plan = Plan::new(SocketAddr::from(([127, 0, 0, 1], 80)));
        let text = "t00000001.000000000002;".repeat(2000);
        for bytes in [23, 100, 16 << 10, 30_000] {
            let body = &text[..bytes];
            let sent = all(&plan, ClientKind::OneShot, bytes as u64);
            let (head, found) = sent.split_once("\r\n\r\n").unwrap();
            assert_eq!(found, body);
            assert!(head.starts_with("POST /echo?t00000001.000000000002; HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"));
            assert!(head.contains(&format!("Content-Length: {bytes}\r\nConnection: close")), "{head}");
            assert!(!all(&plan, ClientKind::KeepAlive, bytes as u64).contains("Connection"));
        }
        assert!(
            all(&plan, ClientKind::SlowReader, 99).starts_with("GET /blob/99?t00000001.000000000002; HTTP/1.1\r\n")
        );
        plan.protocol = Protocol::Http(Ask::Worker);
        assert!(all(&plan, ClientKind::KeepAlive, 99).starts_with("GET /?t"));
        plan.protocol = Protocol::Http(Ask::Page);
        assert!(all(&plan, ClientKind::OneShot, 99).starts_with("GET /?t00000001.000000000002; HTTP/1.1\r\n"));
        plan.paths.page = "/find?name=x".to_owned();
        assert!(
            all(&plan, ClientKind::OneShot, 99).starts_with("GET /find?name=x&t00000001.000000000002; HTTP/1.1\r\n")
        );
        plan.protocol = Protocol::Tcp;
        assert_eq!(all(&plan, ClientKind::Upload, 30_000), text[..30_000]);
    }
}
