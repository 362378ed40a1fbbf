//! Builds answers: a body with its type, and the headers that every answer carries.

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::commands::Lines;
use crate::api::state::Problem;
use crate::printable;

/// An answer: a body that is whole in memory, or lines that are written as they come.
pub(super) type Answer = Response<Either<Full<Bytes>, Lines>>;

/// The headers of every answer. They let a browser show it with our own style sheet, and do nothing else with it.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Returns an answer with a body of that type.
pub(super) fn body(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    with_headers(status, kind, Either::Left(Full::new(body.into())))
}

/// Returns an answer of JSON lines, each an object, written as they come.
pub(super) fn lines(lines: Lines) -> Answer {
    with_headers(StatusCode::OK, "application/x-ndjson", Either::Right(lines))
}

fn with_headers(status: StatusCode, kind: &'static str, body: Either<Full<Bytes>, Lines>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.extend(HEADERS);
    answer
}

/// Returns an answer of plain text.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    body(status, "text/plain; charset=utf-8", text)
}

/// Returns an answer of JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    match printable::json_of(value) {
        Some(json) => body(status, "application/json", json),
        None => problem(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written as JSON"),
    }
}

/// Returns an error as a problem document (RFC 9457). `detail` is our own text: it repeats nothing of the request.
pub(super) fn problem(status: StatusCode, detail: &str) -> Answer {
    problem_with(status, detail, None)
}

/// Returns the same with advice on what to do.
pub(super) fn problem_with(status: StatusCode, detail: &str, hint: Option<String>) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error").to_owned();
    let document = Problem { title, status: status.as_u16(), detail: detail.to_owned(), hint };
    body(status, "application/problem+json", printable::json_of(&document).unwrap_or_default())
}

/// Returns the answer "method not allowed" with the methods that are, and the reason.
pub(super) fn wrong_method(allowed: &'static str, why: &str) -> Answer {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, why);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// Returns the same answer, but closes the connection after it: the rest of the request is not read.
pub(super) fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}
