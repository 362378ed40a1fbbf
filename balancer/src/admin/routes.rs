//! Routes a request to its answer.

use hyper::body::Body;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode, Version};
use prometheus::TextEncoder;

use super::commands::Path;
use super::connection_context::{ApiListener, ConnectionContext};
use super::context::Context;
use super::requests::Route;
use super::respond::{self, Answer, closing};
use super::{commands, page, snapshot};

/// Answers a request and counts it.
pub(super) async fn answer<B>(context: &Context, connection: &ConnectionContext, request: Request<B>) -> Answer
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let path = request.uri().path().to_owned();
    let path: Vec<&str> = path.split('/').skip(1).collect();
    let command = Path::of(&path);
    let route = match (path.as_slice(), command) {
        ([""], _) => Route::Page,
        (["style.css"], _) => Route::Style,
        (["livez"], _) => Route::Livez,
        (["readyz"], _) => Route::Readyz,
        (["metrics"], _) => Route::Metrics,
        (["api", "v1", "state"], _) => Route::State,
        (_, Some(Path::ReloadAll)) => Route::Reload,
        (_, Some(Path::OnPool(_, verb))) => Route::of_verb(verb),
        (_, Some(Path::Message(_))) => Route::Message,
        (_, Some(Path::Shutdown)) => Route::Shutdown,
        (_, None) => Route::Other,
    };
    let answer = match (&connection.listener, command) {
        (ApiListener::AdminPort, _) if !has_own_host(&request) => {
            respond::problem(StatusCode::FORBIDDEN, "the Host header must be an IP address or localhost")
        }
        (ApiListener::AdminPort, Some(_)) => closing(respond::problem_with(
            StatusCode::FORBIDDEN,
            "commands are taken on the control socket only; the admin port is read-only",
            Some("send it to the control socket, as the user that runs the master or as root".to_owned()),
        )),
        (ApiListener::ControlSocket(peer), Some(command)) => {
            commands::take(context, connection, peer, command, request).await
        }
        (_, None) => look(context, &request, route),
    };
    context.source.requests.count(route, answer.status().as_u16());
    answer
}

/// Answers a request that only reads.
fn look<B: Body>(context: &Context, request: &Request<B>, route: Route) -> Answer {
    if !request.body().is_end_stream() {
        // No route here takes a body. It is not read; the connection is closed instead.
        return closing(respond::problem(StatusCode::PAYLOAD_TOO_LARGE, "this path does not accept a body"));
    }
    match (request.method(), route) {
        (_, Route::Other) => respond::problem(StatusCode::NOT_FOUND, "no such path"),
        // hyper leaves out the body of an answer to HEAD.
        (&Method::GET | &Method::HEAD, route) => read(context, route),
        _ => respond::wrong_method("GET, HEAD", "this path is read-only"),
    }
}

fn read(context: &Context, route: Route) -> Answer {
    let source = &context.source;
    match route {
        Route::Page => {
            respond::body(StatusCode::OK, "text/html; charset=utf-8", page::render(&snapshot::state(source)))
        }
        Route::Style => respond::body(StatusCode::OK, "text/css; charset=utf-8", page::STYLE),
        Route::Livez => respond::text(StatusCode::OK, "ok\n"),
        Route::Readyz => match snapshot::unready(source) {
            None => respond::text(StatusCode::OK, "ok\n"),
            Some(reason) => respond::text(StatusCode::SERVICE_UNAVAILABLE, reason),
        },
        Route::Metrics => match TextEncoder::new().encode_to_string(&context.registry.gather()) {
            Ok(text) => respond::body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
            Err(_) => respond::problem(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written"),
        },
        Route::State => respond::json(StatusCode::OK, &snapshot::state(source)),
        Route::Reload
        | Route::Scale
        | Route::Restart
        | Route::Stop
        | Route::Start
        | Route::Strategy
        | Route::Message
        | Route::Shutdown
        | Route::Other => respond::problem(StatusCode::NOT_FOUND, "no such path"),
    }
}

/// Returns true if the request's Host is an IP address or localhost. A foreign page whose name was made to point to
/// loopback (DNS rebinding) still sends its own name.
fn has_own_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        // Load balancers probe with HTTP/1.0, without a Host; no browser speaks that version.
        (None, _) => request.version() == Version::HTTP_10,
        (Some(host), None) => host.to_str().is_ok_and(is_own_host),
        (Some(_), Some(_)) => false,
    };
    named && request.uri().authority().is_none_or(|authority| is_own_host(authority.as_str()))
}

/// An IP address or `localhost`, with or without a port.
fn is_own_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.parse::<std::net::Ipv4Addr>().is_ok(),
    };
    port.is_none_or(is_port) && (is_address || host.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_ours() {
        for host in ["127.0.0.1", "127.0.0.1:9900", "[::1]", "[::1]:9900", "10.1.2.3:80", "localhost", "LocalHost:9900"]
        {
            assert!(is_own_host(host), "{host}");
        }
    }

    #[test]
    fn names_and_almost_addresses_are_not() {
        for host in [
            "",
            ":",
            ":9900",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "evil@127.0.0.1",
            "127.0.0.1@evil",
            "::1",
            "[::1",
            "::1]",
            "[127.0.0.1]",
            "127.1",
            "0x7f.0.0.1",
            "localhost:",
            "localhost:x",
            "localhost:99999",
            "localhost:+80",
            "localhost ",
            "127.0.0.1:80:80",
            "localhost.",
        ] {
            assert!(!is_own_host(host), "{host}");
        }
    }
}
