//! Requests as bytes, rendered once, and the choice of the next one. Pure.

use std::net::SocketAddr;

use fastrand::Rng;

use crate::plan::Request;

/// One kind of request, as it is sent.
#[derive(Debug)]
pub(super) struct Rendered {
    /// The bytes for a connection that is kept.
    kept: Box<[u8]>,
    /// The bytes with `Connection: close`.
    last: Box<[u8]>,
    /// True for HEAD: its answer has no body, whatever length it states.
    pub(super) is_head: bool,
}

/// All kinds, and how often each is chosen.
#[derive(Debug)]
pub(super) struct Requests {
    all: Vec<Rendered>,
    /// For each kind, the sum of the weights up to and including its own.
    up_to: Vec<f64>,
}

impl Rendered {
    /// Returns the bytes to send; `is_last` if it is the last request on its connection.
    pub(super) fn bytes(&self, is_last: bool) -> &[u8] {
        if is_last { &self.last } else { &self.kept }
    }
}

impl Requests {
    /// Renders requests for that target.
    ///
    /// # Errors
    ///
    /// There are none, a weight is not above 0, or a method or path is not one word.
    pub(super) fn render(requests: &[Request], target: SocketAddr) -> Result<Self, String> {
        if requests.is_empty() {
            return Err("there is no request to send".to_owned());
        }
        let mut sum = 0.0;
        let mut up_to = Vec::new();
        for Request { method, path, weight, .. } in requests {
            if !(weight.is_finite() && *weight > 0.0) {
                return Err(format!("the weight of {method} {path} is {weight}; it has to be above 0"));
            }
            for word in [method, path] {
                if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(format!("{word:?} cannot stand in a request's first line; encode it with %XX"));
                }
            }
            sum += weight;
            up_to.push(sum);
        }
        Ok(Self { all: requests.iter().map(|request| render(request, target)).collect(), up_to })
    }

    /// Chooses the next one, at random by weight.
    pub(super) fn pick(&self, random: &mut Rng) -> &Rendered {
        let last = self.all.len() - 1;
        if last == 0 {
            return &self.all[0];
        }
        let point = random.f64() * self.up_to[last];
        &self.all[self.up_to.partition_point(|sum| *sum <= point).min(last)]
    }
}

fn render(request: &Request, target: SocketAddr) -> Rendered {
    let Request { method, path, body, .. } = request;
    let length = body.as_ref().map(|body| format!("Content-Length: {}\r\n", body.len())).unwrap_or_default();
    let body = body.as_deref().unwrap_or_default();
    let bytes = |connection| format!("{method} {path} HTTP/1.1\r\nHost: {target}\r\n{length}{connection}\r\n{body}");
    let boxed = |text: String| text.into_bytes().into_boxed_slice();
    Rendered { kept: boxed(bytes("")), last: boxed(bytes("Connection: close\r\n")), is_head: method == "HEAD" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, weight: f64) -> Request {
        Request { method: "GET".to_owned(), path: path.to_owned(), body: None, weight }
    }

    fn target() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8080))
    }

    #[test]
    fn request_is_rendered_with_its_length_and_its_end() {
        let post = Request { method: "POST".to_owned(), body: Some("{}".to_owned()), ..get("/a?b=c", 1.0) };
        let requests = Requests::render(&[post], target()).unwrap();
        let rendered = requests.pick(&mut Rng::with_seed(1));
        let kept = "POST /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(String::from_utf8_lossy(rendered.bytes(false)), kept);
        let last = kept.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        assert_eq!(String::from_utf8_lossy(rendered.bytes(true)), last);
        assert!(!rendered.is_head);
    }

    #[test]
    fn kinds_come_by_weight_in_an_order_that_the_seed_decides() {
        let requests = Requests::render(&[get("/a", 9.0), get("/b", 0.5), get("/c", 0.5)], target()).unwrap();
        let order = |seed| {
            let mut random = Rng::with_seed(seed);
            let path = |_| requests.pick(&mut random).bytes(false)[5];
            (0..10_000).map(path).collect::<Vec<_>>()
        };
        let count = |path| order(7).iter().filter(|found| **found == path).count();
        assert!((8_800..9_200).contains(&count(b'a')), "{}", count(b'a'));
        assert!((400..600).contains(&count(b'b')) && (400..600).contains(&count(b'c')));
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
    }

    #[test]
    fn invalid_request_is_refused() {
        for (wrong, says) in [
            (vec![], "no request"),
            (vec![get("/a", 0.0)], "is 0"),
            (vec![get("/a", f64::NAN)], "NaN"),
            (vec![get("/a b", 1.0)], "%XX"),
            (vec![get("/a\r\nX: y", 1.0)], "%XX"),
            (vec![get("", 1.0)], "%XX"),
        ] {
            let told = Requests::render(&wrong, target()).unwrap_err();
            assert!(told.contains(says), "{told}");
        }
    }
}
