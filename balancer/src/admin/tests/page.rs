//! The status page.

use super::*;
use crate::pool::CheckStatus;

#[test]
fn nothing_that_a_worker_says_becomes_markup() {
    let server = Server::start(vec![pool("<script>alert(1)</script>")]);
    publish(&server.pools[0], |status| {
        let worker = &mut status.workers[1];
        worker.status_text = Some("<img src=x onerror=alert(1)>\u{1b}[2J".to_owned());
        worker.last_check = Some(CheckStatus {
            what: "\"><script>".to_owned(),
            is_ok: false,
            took: Duration::ZERO,
            at: SystemTime::now(),
        });
        if let Some(exit) = &mut worker.last_exit {
            exit.what = "</td><script>".to_owned();
            exit.last_lines = ["</pre><script>'&".to_owned()].into();
        }
    });
    let page = server.get("/").body;
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\u{1b}'), "{page}");
    for text in [
        "&#60;script&#62;alert(1)",
        "&#60;img src=x",
        "&#34;&#62;&#60;script",
        "&#60;/pre&#62;&#60;script&#62;&#39;&#38;",
    ] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
}

#[test]
fn page_shows_pools_workers_and_links() {
    let server = Server::start(vec![pool("api")]);
    let page = server.get("/").body;
    for text in [
        "<h2>api <span class=\"state degraded\">degraded</span></h2>",
        "api/0",
        "api/1",
        "1 of 2 ready",
        "round-robin",
        "exit code 3",
        "boom: missing",
        "href=\"metrics\"",
        "<tbody>\n<tr><th scope=\"row\">api/0<td><span class=\"state ready\">ready</span><td class=\"number\">",
        "</dl>\n<table>\n<caption>Workers of api</caption>\n<thead><tr><th scope=\"col\">worker<th scope=\"col\">state<th",
        "</tr>\n</tbody>\n</table>\n</section>\n</main>\n<footer>",
    ] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    assert!(
        !page.contains("style=") && !page.contains("<style") && !page.contains("http://") && !page.contains("https://")
    );
}
