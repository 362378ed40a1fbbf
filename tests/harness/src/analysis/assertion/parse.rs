//! Parses an assertion. Pure.

use std::str::FromStr;

use super::{Assertion, CellName, Metric, Op, Term, UNITS, Unit};

/// The reason why a text is not an assertion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at} of `{text}`: {problem}")]
pub struct AssertionError {
    /// The whole text.
    pub text: String,
    /// The position of the mistake, counted from 1.
    pub at: usize,
    /// The expected text, and the text found.
    pub problem: String,
}

/// A mistake: its offset in the text in bytes, and its description.
type Problem = (usize, String);

impl FromStr for Assertion {
    type Err = AssertionError;

    fn from_str(text: &str) -> Result<Self, AssertionError> {
        let mut reader = Reader { text, at: 0 };
        reader.assertion().map_err(|(bytes, problem)| {
            let at = text.get(..bytes).map_or(0, |before| before.chars().count()) + 1;
            AssertionError { text: text.into(), at, problem }
        })
    }
}

/// The text, and the number of bytes that were read.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn assertion(&mut self) -> Result<Assertion, Problem> {
        let left = self.cell()?;
        let op = self.op()?;
        let right = self.term(left.metric)?;
        self.skip_blanks();
        if self.rest().is_empty() {
            return Ok(Assertion { left, op, right });
        }
        Err((self.at, format!("expected nothing more, found `{}`", self.rest())))
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Reads a token: everything up to a blank, an operator or a star. Also returns its position.
    fn word(&mut self) -> (usize, &'a str) {
        self.skip_blanks();
        let (start, rest) = (self.at, self.rest());
        let end = rest.find(|c: char| c.is_whitespace() || "<>=*".contains(c)).unwrap_or(rest.len());
        self.at += end;
        (start, rest.get(..end).unwrap_or(""))
    }

    fn cell(&mut self) -> Result<CellName, Problem> {
        let (start, word) = self.word();
        let [scenario, way, metric] = word.split('.').collect::<Vec<_>>()[..] else {
            return Err((start, format!("expected SCENARIO.WAY.METRIC, found `{word}`")));
        };
        let is_name =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-/".contains(c));
        let mut place = start;
        for (what, name) in [("scenario", scenario), ("way", way)] {
            if !is_name(name) {
                return Err((
                    place,
                    format!("expected the name of a {what} (letters, digits, - and /), found `{name}`"),
                ));
            }
            place += name.len() + 1;
        }
        let metric = Metric::named(metric).ok_or_else(|| {
            let known: Vec<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
            (place, format!("expected a metric ({}), found `{metric}`", known.join(", ")))
        })?;
        Ok(CellName { scenario: scenario.into(), way: way.into(), metric })
    }

    fn op(&mut self) -> Result<Op, Problem> {
        self.skip_blanks();
        let found = Op::ALL.iter().find(|(word, _)| self.rest().starts_with(word));
        let (word, op) = found.ok_or_else(|| {
            let found = self.rest();
            (self.at, format!("expected one of < <= > >= ==, found `{found}`"))
        })?;
        self.at += word.len();
        Ok(*op)
    }

    /// Reads the right side of a comparison; a number must have its unit.
    fn term(&mut self, metric: Metric) -> Result<Term, Problem> {
        let (start, word) = self.word();
        // A scenario's name may also begin with a digit, but a cell has two points, and a number at most one.
        if !word.starts_with(|c: char| c.is_ascii_digit() || c == '.') || word.matches('.').count() > 1 {
            self.at = start;
            return self.cell_like(metric, None);
        }
        let digits = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        let (number, unit) = word.split_at(digits);
        let amount: f64 = number.parse().map_err(|_| (start, format!("expected a number, found `{number}`")))?;
        self.skip_blanks();
        if self.rest().starts_with('*') && unit.is_empty() {
            self.at += 1;
            return self.cell_like(metric, Some(amount));
        }
        let (place, unit) = if unit.is_empty() { self.word() } else { (start + digits, unit) };
        Ok(Term::Number { amount, unit: unit_for(metric, amount, unit).map_err(|problem| (place, problem))? })
    }

    fn cell_like(&mut self, metric: Metric, factor: Option<f64>) -> Result<Term, Problem> {
        self.skip_blanks();
        let start = self.at;
        let cell = self.cell()?;
        if cell.metric.unit() != metric.unit() {
            let (left, right) = (metric.name(), cell.metric.name());
            return Err((start, format!("expected a value like {left}; {right} has another unit")));
        }
        Ok(Term::Cell { factor, cell })
    }
}

fn unit_for(metric: Metric, amount: f64, word: &str) -> Result<Option<Unit>, String> {
    let fitting = UNITS.iter().filter(|unit| unit.of == metric.unit());
    let found = fitting.clone().find(|unit| unit.word == word);
    let needs_one = matches!(metric.unit(), "s" | "bytes") && amount != 0.0;
    if found.is_none() && (!word.is_empty() || needs_one) {
        let known: Vec<&str> = fitting.map(|unit| unit.word).collect();
        let (name, found) = (metric.name(), if word.is_empty() { "none".into() } else { format!("`{word}`") });
        return Err(if known.is_empty() {
            format!("expected no unit, {name} has none; found {found}")
        } else {
            format!("expected a unit of {name} ({}), found {found}", known.join(", "))
        });
    }
    Ok(found.copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_name(rng: &mut fastrand::Rng, letters: &[u8]) -> String {
        (0..rng.usize(1..12)).map(|_| char::from(letters[rng.usize(..letters.len())])).collect()
    }

    fn random_cell(rng: &mut fastrand::Rng, unit: Option<&str>) -> CellName {
        let fitting: Vec<Metric> =
            Metric::ALL.into_iter().filter(|metric| unit.is_none_or(|unit| metric.unit() == unit)).collect();
        let metric = fitting[rng.usize(..fitting.len())];
        CellName { scenario: random_name(rng, b"abz019-"), way: random_name(rng, b"abz019-/"), metric }
    }

    fn random_assertion(rng: &mut fastrand::Rng) -> Assertion {
        let left = random_cell(rng, None);
        let number = |rng: &mut fastrand::Rng| f64::from(rng.u32(1..100_000)) / [1.0, 10.0, 1000.0][rng.usize(..3)];
        let right = if rng.bool() {
            let factor = rng.bool().then(|| number(rng));
            Term::Cell { factor, cell: random_cell(rng, Some(left.metric.unit())) }
        } else {
            let fitting: Vec<Unit> = UNITS.into_iter().filter(|unit| unit.of == left.metric.unit()).collect();
            let unit = (!fitting.is_empty()).then(|| fitting[rng.usize(..fitting.len().max(1))]);
            Term::Number { amount: number(rng), unit }
        };
        Assertion { left, op: Op::ALL[rng.usize(..Op::ALL.len())].1, right }
    }

    #[test]
    fn printed_assertion_is_parsed_with_and_without_blanks() {
        let mut rng = fastrand::Rng::with_seed(4);
        for _ in 0..5_000 {
            let assertion = random_assertion(&mut rng);
            let text = assertion.to_string();
            assert_eq!(text.parse(), Ok(assertion.clone()), "{text}");
            assert_eq!(text.replace(' ', "").parse(), Ok(assertion.clone()), "{text}");
            assert_eq!(format!("  {}\t", text.replace(' ', "  ")).parse(), Ok(assertion), "{text}");
        }
    }

    #[test]
    fn nothing_that_is_typed_makes_it_panic() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut errors = 0;
        for _ in 0..5_000 {
            let mut text: Vec<char> = random_assertion(&mut rng).to_string().chars().collect();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..text.len());
                text[at] = ['.', '<', '=', '*', 'µ', ' ', '5', '%', '/'][rng.usize(..9)];
            }
            let text: String = text.into_iter().collect();
            if let Err(error) = text.parse::<Assertion>() {
                assert!((1..=text.chars().count() + 1).contains(&error.at), "{error}");
                errors += 1;
            }
        }
        assert!(errors > 1_000, "{errors}");
    }

    #[test]
    fn wrong_text_is_refused_with_its_place_and_what_was_expected() {
        let wrong = [
            ("", 1, "expected SCENARIO.WAY.METRIC, found ``"),
            ("kill.errors == 0", 1, "expected SCENARIO.WAY.METRIC, found `kill.errors`"),
            (".rr.p99 < 5ms", 1, "expected the name of a scenario (letters, digits, - and /), found ``"),
            ("a.r_r.p99 < 5ms", 3, "expected the name of a way (letters, digits, - and /), found `r_r`"),
            (
                "a.rr.p98 < 5ms",
                6,
                "expected a metric (rps, p50, p90, p99, p999, errors, cpu, balancer-cpu, workers-cpu, fairness, \
                 balancer-memory, gap, recovery), found `p98`",
            ),
            ("a.rr.p99 = 5ms", 10, "expected one of < <= > >= ==, found `= 5ms`"),
            ("a.rr.p99 < 5", 13, "expected a unit of p99 (us, ms, s), found none"),
            ("a.rr.p99 < 5MiB", 13, "expected a unit of p99 (us, ms, s), found `MiB`"),
            ("a.rr.errors < 5 ms", 17, "expected no unit, errors has none; found `ms`"),
            ("a.rr.p99 < 0.8 * 5ms", 18, "expected SCENARIO.WAY.METRIC, found `5ms`"),
            ("a.rr.p99 < a.rr.rps", 12, "expected a value like p99; rps has another unit"),
            ("a.rr.p99 < 5ms 6", 16, "expected nothing more, found `6`"),
            ("a.rr.rps < -5", 12, "expected SCENARIO.WAY.METRIC, found `-5`"),
        ];
        for (text, at, problem) in wrong {
            let error = text.parse::<Assertion>().unwrap_err();
            assert_eq!((error.at, error.problem.as_str()), (at, problem), "{text}");
        }
    }
}
