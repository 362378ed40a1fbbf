//! Finds out which worker sent an answer: by a header `X-Worker: NAME`, or by a body that begins `hello from NAME
//! (pid`, as the demo worker's does. Pure.

/// The beginning of a body that names its worker.
const GREETING: &[u8] = b"hello from ";
/// The text after the name.
const BEHIND: &[u8] = b" (pid";
/// The longest name that is accepted, in bytes.
const LONGEST: usize = 100;

/// The worker of one answer, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Naming {
    worker: String,
    /// True if the name is known, or known not to come.
    is_over: bool,
    /// The beginning of a body that has not arrived far enough.
    start: Vec<u8>,
}

/// The result of reading the start of a body.
#[derive(Debug, PartialEq, Eq)]
enum Greeting<'a> {
    From(&'a str),
    No,
    /// It may still become a greeting.
    Unfinished,
}

impl Naming {
    /// Starts with a new answer.
    pub(super) fn begin(&mut self) {
        self.worker.clear();
        self.is_over = false;
        self.start.clear();
    }

    /// Notes the name from the head, if it is text.
    pub(super) fn is_named(&mut self, name: &[u8]) {
        if let Ok(name) = std::str::from_utf8(name)
            && name.len() <= LONGEST
        {
            self.worker.clear();
            self.worker.push_str(name.trim());
            self.is_over = true;
        }
    }

    /// Reads more of the body.
    pub(super) fn read(&mut self, content: &[u8]) {
        if self.is_over {
            return;
        }
        let text = if self.start.is_empty() {
            content
        } else {
            let room = GREETING.len() + LONGEST + BEHIND.len();
            self.start.extend_from_slice(&content[..content.len().min(room)]);
            &self.start
        };
        match greeting(text) {
            Greeting::From(name) => {
                self.worker.push_str(name);
                self.is_over = true;
            }
            Greeting::No => self.is_over = true,
            Greeting::Unfinished if self.start.is_empty() => self.start.extend_from_slice(content),
            Greeting::Unfinished => {}
        }
    }

    pub(super) fn worker(&self) -> Option<&str> {
        (!self.worker.is_empty()).then_some(self.worker.as_str())
    }
}

fn greeting(text: &[u8]) -> Greeting<'_> {
    let common = text.len().min(GREETING.len());
    if text[..common] != GREETING[..common] {
        return Greeting::No;
    }
    let behind = &text[common..];
    let near = &behind[..behind.len().min(LONGEST + BEHIND.len())];
    match near.windows(BEHIND.len()).position(|window| window == BEHIND) {
        Some(end) => std::str::from_utf8(&near[..end]).map_or(Greeting::No, Greeting::From),
        None if near.len() < LONGEST + BEHIND.len() => Greeting::Unfinished,
        None => Greeting::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(body: &[u8], size: usize) -> Option<String> {
        let mut naming = Naming::default();
        body.chunks(size).for_each(|piece| naming.read(piece));
        naming.worker().map(str::to_owned)
    }

    #[test]
    fn greeting_names_its_worker_however_it_is_cut() {
        let body = b"hello from demo/1 (pid 40113), request 17\n";
        for size in 1..=body.len() {
            assert_eq!(worker(body, size).as_deref(), Some("demo/1"), "pieces of {size}");
        }
    }

    #[test]
    fn other_bodies_name_nobody_and_are_not_kept() {
        let long = [GREETING, [b'x'; 1000].as_slice()].concat();
        for body in [b"hello world".as_slice(), b"<html>", b"hello from ", b"hello from \xff (pid 1)", &long] {
            for size in [1, 7, 2000] {
                assert_eq!(worker(body, size), None, "{body:?}");
            }
        }
        let mut naming = Naming::default();
        long.chunks(50).for_each(|piece| naming.read(piece));
        assert!(naming.is_over && naming.start.len() < 200, "{}", naming.start.len());
    }

    #[test]
    fn header_goes_before_the_body() {
        let mut naming = Naming::default();
        naming.is_named(b" app/2 ");
        naming.read(b"hello from demo/1 (pid 1)");
        assert_eq!(naming.worker(), Some("app/2"));
        naming.begin();
        assert_eq!(naming.worker(), None);
    }
}
