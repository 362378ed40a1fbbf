//! Writes one SVG picture: elements with classes, escaped texts, and only coordinates that are numbers. Pure.

use std::fmt::{self, Write as _};

use roundelay_text::printable::escape;
use unicode_width::UnicodeWidthStr as _;

use super::Said;

/// The width of an average character of the charts' 12 px text; names are mostly small letters.
const CHARACTER: f64 = 6.9;

/// A picture that grows.
pub(crate) struct Svg(String);

/// The position of a text relative to its point.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    /// It starts at the point.
    Start,
    /// It is centred on the point.
    Middle,
    /// It ends at the point.
    End,
}

impl Svg {
    /// Returns an empty picture of that size.
    pub(crate) fn new(width: f64, height: f64, said: Said<'_>) -> Self {
        let mut svg = Self(String::new());
        svg.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {} {}\"><title>{}</title><desc>{}</desc>",
            Number(width),
            Number(height),
            Text(said.title),
            Text(said.about)
        ));
        svg
    }

    /// Returns its text.
    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("</svg>");
        self.0
    }

    /// Groups elements, with a text that is shown when the pointer is on them.
    pub(crate) fn group(&mut self, class: &str, said: &str, inside: impl FnOnce(&mut Self)) {
        self.put(format_args!("<g class=\"{}\"><title>{}</title>", Text(class), Text(said)));
        inside(self);
        self.0.push_str("</g>");
    }

    /// Draws a rectangle; nothing if it has no area.
    pub(crate) fn rect(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64) {
        if width > 0.0 && height > 0.0 {
            let [x, y, width, height] = [x, y, width, height].map(Number);
            self.put(format_args!(
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
            ));
        }
    }

    /// Draws a straight line.
    pub(crate) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(Number);
        self.put(format_args!("<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"));
    }

    /// Draws a dot.
    pub(crate) fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        let [x, y, radius] = [x, y, radius].map(Number);
        self.put(format_args!("<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>"));
    }

    /// Draws lines through the points, interrupted where one is missing; a point alone becomes a short stroke.
    pub(crate) fn path(&mut self, class: &str, points: impl IntoIterator<Item = Option<(f64, f64)>>) {
        let mut data = String::new();
        let mut is_down = false;
        for point in points {
            if let Some((x, y)) = point {
                // Writing to a `String` cannot fail.
                let _ = write!(data, "{}{} {}", if is_down { 'L' } else { 'M' }, Number(x), Number(y));
                if !is_down {
                    data.push_str("h0.01");
                }
            }
            is_down = point.is_some();
        }
        if !data.is_empty() {
            self.put(format_args!("<path class=\"{class}\" d=\"{data}\"/>"));
        }
    }

    /// Writes a text whose middle line is at `y`.
    pub(crate) fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        // The base line of small letters is a third of the size below the middle.
        let [x, y] = [x, y + 4.0].map(Number);
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>",
            Text(text)
        ));
    }

    fn put(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _ = self.0.write_fmt(text);
    }
}

/// Returns the approximate width of a text.
pub(crate) fn width(text: &str) -> f64 {
    text.width() as f64 * CHARACTER
}

/// Returns the text, cut off with an ellipsis if it is wider.
pub(crate) fn fitted(text: &str, widest: f64) -> String {
    if width(text) <= widest {
        return text.to_owned();
    }
    let mut short = String::new();
    for letter in text.chars() {
        if width(&short) + CHARACTER * 2.0 > widest {
            break;
        }
        short.push(letter);
    }
    short + "…"
}

/// A coordinate with two decimals. What is not a number becomes 0: a picture with one wrong point is better than none.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.0.is_finite() { self.0 } else { 0.0 };
        let rounded = (value * 100.0).round() / 100.0;
        // Adding zero turns -0 into 0.
        write!(f, "{}", rounded + 0.0)
    }
}

/// A text between tags or in quotes: safe to print, escaped, and without the characters that XML does not have.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in escape(self.0).chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::well_formed::check;
    use super::*;

    #[test]
    fn texts_are_escaped_and_numbers_are_numbers() {
        let mut svg = Svg::new(f64::NAN, 10.0, Said { title: "a < b & \"c\"", about: "\u{0}\u{7}" });
        svg.group("w0", "</g><script>", |svg| {
            svg.rect("bar", f64::INFINITY, 1.0 / 3.0, 5.0, 5.0);
            svg.rect("bar", 0.0, 0.0, f64::NAN, 5.0);
            svg.path("line", [Some((0.0, f64::NEG_INFINITY)), None, Some((-0.001, 2.0)), Some((3.0, 4.0))]);
            svg.text("tick", (1.0, 2.0), Anchor::Middle, "<b>");
        });
        let text = svg.finish();
        check(&text).unwrap();
        assert!(!text.contains("<script") && !text.contains("<b>"), "{text}");
        assert!(text.contains("y=\"0.33\"") && text.contains("M0 0h0.01M0 2h0.01L3 4"), "{text}");
        assert_eq!(text.matches("<rect").count(), 1, "one without an area is left out: {text}");
    }

    #[test]
    fn long_name_is_cut_to_its_place() {
        let short = fitted("proxy/least-connections", 80.0);
        assert!(short.ends_with('…') && width(&short) <= 80.0, "{short}");
        assert_eq!(fitted("p2c", 80.0), "p2c");
    }
}
