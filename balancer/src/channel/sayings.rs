//! What a worker's program says, within bounds: one that talks without end must fill neither our memory nor the log. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::News;

/// So many messages of one worker are told within [`WINDOW`]; of the others only how many there were.
const MOST: u32 = 50;
/// How long that is.
const WINDOW: Duration = Duration::from_secs(1);
/// So many bytes of one message are told.
const LONGEST: usize = 4096;
/// What `process.send('ready')` sends, by which PM2's `wait_ready` made it customary. Never kept back.
pub(crate) const READY: &str = "\"ready\"";

/// What was told lately.
#[derive(Debug)]
pub(super) struct Sayings {
    since: Instant,
    told: u32,
    kept_back: u64,
}

impl Sayings {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, told: 0, kept_back: 0 }
    }

    /// Its program sent this JSON value at `now`: what is to be told of it.
    pub(super) fn hear(&mut self, json: &str, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        if now - self.since >= WINDOW {
            (self.since, self.told) = (now, 0);
            let more = std::mem::take(&mut self.kept_back);
            news.extend((more > 0).then_some(News::MoreMessages(more)));
        }
        if self.told < MOST || json == READY {
            self.told += 1;
            let end = json.floor_char_boundary(LONGEST);
            news.push(News::Message(json.get(..end).unwrap_or_default().to_owned()));
        } else {
            self.kept_back += 1;
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(news: Vec<News>) -> Vec<String> {
        let word = |news| match news {
            News::Message(text) => text,
            News::MoreMessages(count) => format!("{count} more"),
            other => format!("{other:?}"),
        };
        news.into_iter().map(word).collect()
    }

    #[test]
    fn one_that_talks_without_end_is_told_in_part_and_its_ready_always() {
        let begun = Instant::now();
        let mut sayings = Sayings::new(begun);
        let heard = (0..1000).flat_map(|_| told(sayings.hear("1", begun))).count();
        assert_eq!(heard, 50);
        assert_eq!(told(sayings.hear(READY, begun)), [READY]);
        assert_eq!(told(sayings.hear("2", begun + WINDOW)), ["950 more", "2"]);
        assert_eq!(told(sayings.hear("3", begun + WINDOW)), ["3"]);
    }

    #[test]
    fn of_a_long_one_the_beginning_is_told_in_whole_characters() {
        let long = format!("\"x{}\"", "\u{fc}".repeat(100_000));
        let heard = told(Sayings::new(Instant::now()).hear(&long, Instant::now()));
        assert!(heard[0].len() <= LONGEST && long.starts_with(&heard[0]), "{}", heard[0].len());
    }
}
