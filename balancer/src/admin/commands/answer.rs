//! Reads a request that gives a command, and answers it: with a problem, or with a stream of lines.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, StatusCode};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;
use tracing::info;

use super::lines::Lines;
use super::{CommandError, CommandErrorKind, CommandRequest, CommandUpdate, ControlCommand, LONGEST_MESSAGE, body};
use crate::admin::connection_context::{ConnectionContext, Peer};
use crate::admin::context::Context;
use crate::admin::respond::{self, Answer, closing};
use crate::pool::operation::OperationKind;

/// The largest body of every command but a message, in bytes, and the text of the refusal.
const LARGEST_BODY: (usize, &str) = (64 * 1024, "the body is larger than 64 KiB");
/// The same for a message, with room for the JSON around it.
const LARGEST_MESSAGE: (usize, &str) = (LONGEST_MESSAGE + 1024, "the message is larger than 1 MiB");
/// The time within which a body must arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// The command that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum Path<'a> {
    /// `/api/v1/reload`
    ReloadAll,
    /// `/api/v1/pools/NAME/VERB`
    OnPool(&'a str, OperationKind),
    /// `/api/v1/pools/NAME/message`
    Message(&'a str),
    /// `/api/v1/shutdown`
    Shutdown,
}

impl<'a> Path<'a> {
    /// Returns the command of a path, which was split into `segments`; `None` if the path is no command's.
    pub(in crate::admin) fn of(segments: &[&'a str]) -> Option<Self> {
        match segments {
            ["api", "v1", "reload"] => Some(Path::ReloadAll),
            ["api", "v1", "shutdown"] => Some(Path::Shutdown),
            ["api", "v1", "pools", name, "message"] => Some(Path::Message(name)),
            ["api", "v1", "pools", name, word] => {
                let verb = OperationKind::ALL.into_iter().find(|verb| verb.name() == *word)?;
                Some(Path::OnPool(name, verb))
            }
            _ => None,
        }
    }
}

/// Passes the command from `peer` on the control socket to the application. Returns when the command was refused or has
/// begun.
pub(in crate::admin) async fn take<B>(
    context: &Context,
    connection: &ConnectionContext,
    peer: &Peer,
    path: Path<'_>,
    request: Request<B>,
) -> Answer
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    if request.method() != Method::POST {
        return respond::wrong_method("POST", "commands must be sent with POST");
    }
    // Checked before the body: a wrong name is the likeliest mistake.
    if let Path::OnPool(name, _) | Path::Message(name) = path {
        let pools = &context.source.pools;
        if !pools.iter().any(|pool| pool.name == name) {
            return closing(refused(CommandError::no_pool(name, pools.iter().map(|pool| pool.name.as_str()))));
        }
    }
    let largest = if let Path::Message(_) = path { LARGEST_MESSAGE } else { LARGEST_BODY };
    let bytes = match read(request, largest).await {
        Ok(bytes) => bytes,
        // The rest of the body is not read: the connection ends instead.
        Err((status, what)) => return closing(respond::problem(status, what)),
    };
    let command = match path {
        Path::ReloadAll => body::reload(&bytes),
        Path::OnPool(name, verb) => body::on_pool(verb, name, &bytes),
        Path::Message(name) => body::message(name, &bytes),
        Path::Shutdown => body::shutdown(&bytes),
    };
    match command {
        Ok(command) => submit(context, connection, peer, command).await,
        Err(expected) => respond::problem(StatusCode::BAD_REQUEST, expected),
    }
}

async fn submit(context: &Context, connection: &ConnectionContext, peer: &Peer, command: ControlCommand) -> Answer {
    let (verb, pool) = (command.name(), command.pool().unwrap_or("-"));
    info!(verb, pool, uid = peer.uid, pid = peer.pid, command = ?command, "control command received");
    let (reply, mut news) = mpsc::unbounded_channel();
    connection.begins(&reply);
    let sent = match &context.commands {
        Some(commands) => commands.try_send(CommandRequest { command, client: peer.client.clone(), reply }),
        None => return refused(CommandError::new(CommandErrorKind::Refused, "this master does not take commands")),
    };
    match sent {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => {
            return refused(CommandError::new(CommandErrorKind::Refused, "too many commands are waiting already"));
        }
        Err(TrySendError::Closed(_)) => return refused(CommandError::stopping()),
    }
    match news.recv().await {
        Some(CommandUpdate::Refused(why)) => refused(why),
        Some(first) => respond::lines(Lines::new(first, news)),
        None => refused(CommandError::stopping()),
    }
}

/// Reads the whole body. `largest` is the limit in bytes, and the text of the refusal of a larger body.
async fn read<B>(request: Request<B>, largest: (usize, &'static str)) -> Result<Bytes, (StatusCode, &'static str)>
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let (most, more) = largest;
    let too_large = (StatusCode::PAYLOAD_TOO_LARGE, more);
    if request.body().is_end_stream() {
        return Ok(Bytes::new());
    }
    if !is_json(request.headers()) {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json"));
    }
    if request.body().size_hint().lower() > most as u64 {
        return Err(too_large);
    }
    match timeout(BODY_TIMEOUT, Limited::new(request.into_body(), most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "the body ended before it was complete")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 5 s")),
    }
}

/// Returns true if the content type is `application/json`, with or without parameters, and is given once.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(first), None) = (types.next(), types.next()) else { return false };
    let kind = first.to_str().ok().and_then(|text| text.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

fn refused(refused: CommandError) -> Answer {
    let status = match refused.kind {
        CommandErrorKind::NoTarget => StatusCode::NOT_FOUND,
        CommandErrorKind::Refused => StatusCode::CONFLICT,
        CommandErrorKind::Config => StatusCode::UNPROCESSABLE_ENTITY,
        CommandErrorKind::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    respond::problem_with(status, &refused.why, refused.hint)
}
