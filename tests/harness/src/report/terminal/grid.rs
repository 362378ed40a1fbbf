//! A table without borders that fits its width: upper-case heads, two spaces between columns, numbers to the right.
//! Pure.

use anstyle::Style;
use roundelay_text::printable::escape;
use unicode_width::UnicodeWidthStr as _;

const GAP: usize = 2;

/// One column.
pub(super) struct Column {
    head: String,
    /// The order in which columns are left out if there is no room: the greatest first; 0 always stays.
    dispensable: u8,
    is_text: bool,
    /// The texts, and their colours.
    cells: Vec<(String, Style)>,
}

impl Column {
    /// Returns a column of names, which always stays and is aligned to the left.
    pub(super) fn names(head: &str, cells: impl IntoIterator<Item = String>) -> Self {
        let cells = cells.into_iter().map(|cell| (escape(&cell), Style::new())).collect();
        Self { head: head.to_owned(), dispensable: 0, is_text: true, cells }
    }

    /// Returns a column of numbers.
    pub(super) fn numbers(head: &str, dispensable: u8, cells: impl IntoIterator<Item = String>) -> Self {
        let cells = cells.into_iter().map(|cell| (cell, Style::new())).collect();
        Self { head: head.to_owned(), dispensable, is_text: false, cells }
    }

    /// Returns a column of coloured words; the colour repeats the word.
    pub(super) fn words(head: &str, dispensable: u8, cells: impl IntoIterator<Item = (String, Style)>) -> Self {
        Self { head: head.to_owned(), dispensable, is_text: true, cells: cells.into_iter().collect() }
    }

    fn width(&self) -> usize {
        self.cells.iter().map(|cell| cell.0.width()).max().unwrap_or(0).max(self.head.width())
    }
}

/// Returns the table's lines, each with a line feed. Columns are left out until it is at most `width` wide; the names
/// always stay.
pub(super) fn grid(mut columns: Vec<Column>, width: usize) -> String {
    let total = |columns: &[Column]| columns.iter().map(|column| column.width() + GAP).sum::<usize>();
    while total(&columns) > width + GAP {
        let Some(last) = (0..columns.len()).max_by_key(|i| columns.get(*i).map(|column| column.dispensable)) else {
            break;
        };
        if columns.get(last).is_none_or(|column| column.dispensable == 0) {
            break;
        }
        columns.remove(last);
    }
    let rows = columns.iter().map(|column| column.cells.len()).max().unwrap_or(0);
    let head = line(&columns, |column| Some((column.head.as_str(), Style::new())));
    let body = (0..rows).map(|i| line(&columns, |column| column.cells.get(i).map(|cell| (cell.0.as_str(), cell.1))));
    std::iter::once(head).chain(body).collect()
}

fn line<'a>(columns: &'a [Column], cell: impl Fn(&'a Column) -> Option<(&'a str, Style)>) -> String {
    let mut line = String::new();
    for (i, column) in columns.iter().enumerate() {
        let (text, style) = cell(column).unwrap_or_default();
        let padding = " ".repeat(column.width() - text.width());
        let styled = format!("{style}{text}{style:#}");
        let gap = if i == 0 { "" } else { "  " };
        line += gap;
        line += &if column.is_text { styled + &padding } else { padding + &styled };
    }
    line.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vec<Column> {
        let texts = |cells: [&str; 2]| cells.map(str::to_owned);
        vec![
            Column::names("WAY", texts(["proxy/p2c", "direct"])),
            Column::numbers("P99", 1, texts(["53.2 ms", "2.2 ms"])),
            Column::numbers("ERRORS", 2, texts(["0", "12"])),
        ]
    }

    #[test]
    fn numbers_stand_to_the_right_and_names_to_the_left() {
        assert_eq!(
            grid(table(), 80),
            "WAY            P99  ERRORS\nproxy/p2c  53.2 ms       0\ndirect      2.2 ms      12\n"
        );
    }

    #[test]
    fn most_dispensable_column_goes_first_and_names_stay() {
        assert_eq!(grid(table(), 20).lines().next(), Some("WAY            P99"));
        assert_eq!(grid(table(), 3), "WAY\nproxy/p2c\ndirect\n");
    }
}
