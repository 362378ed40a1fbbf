//! Rows of a table on lines that a terminal does not wrap. Pure.
//!
//! On a terminal, columns are left out until the cells fit its `width`, the least important first; then names are
//! shortened. A note that does not fit beside its row goes below it. Without a terminal nothing is cut, so that
//! programs find everything on one line.

use anstyle::{AnsiColor, Style};

use super::fit::{clip, elide, width, wrap};

pub(super) const COLUMNS: usize = 10;
/// The first columns hold words: they are aligned to the left, and never left out.
const WORDS: usize = 2;
/// The columns that are left out in a narrow terminal, in this order: CPU, TOTAL, GEN, MEM, RESTARTS, UP, CONN, PID.
const LEFT_OUT: [usize; COLUMNS - WORDS] = [5, 8, 2, 6, 9, 4, 7, 3];
const GAP: &str = "  ";
/// Names of up to this many columns are not shortened while there is another column to leave out.
const SHORT_NAME: usize = 20;
/// The indent of a note below its row, in columns; `NOTE_LINES` is the most lines that it takes.
const INDENT: usize = 6;
const NOTE_LINES: usize = 4;

/// One line of the table.
pub(super) struct Row {
    pub(super) cells: [String; COLUMNS],
    /// The text behind the columns; it may have any length.
    pub(super) note: String,
}

/// Returns the rows as lines, none wider than `room` if that is given, with colours as escape sequences.
pub(super) fn lay_out(rows: &[Row], room: Option<usize>) -> String {
    let widths = widths(rows, room);
    let mut text = String::new();
    for row in rows {
        let (mut line, taken) = cells(row, &widths, room);
        let mut below = Vec::new();
        if !row.note.is_empty() {
            // A tab has no fixed width.
            let note = row.note.replace('\t', " ");
            match room {
                Some(room) if taken + GAP.len() + width(&note) > room => {
                    let indent = if room > 2 * INDENT { INDENT } else { 0 };
                    let lines = wrap(&note, room - indent, NOTE_LINES);
                    below = lines.into_iter().map(|line| " ".repeat(indent) + &line).collect();
                }
                _ => {
                    line.push_str(GAP);
                    line.push_str(&note);
                }
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
        for line in below {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

/// Returns the width of each column; `None` for one that is left out.
fn widths(rows: &[Row], room: Option<usize>) -> [Option<usize>; COLUMNS] {
    let widest = |column: usize| rows.iter().map(|row| width(&row.cells[column])).max().unwrap_or(0);
    let mut widths: [Option<usize>; COLUMNS] = std::array::from_fn(|column| Some(widest(column)));
    let Some(room) = room else { return widths };
    let name = widest(0);
    let others =
        |widths: &[Option<usize>; COLUMNS]| widths[1..].iter().flatten().map(|width| GAP.len() + width).sum::<usize>();
    let shortest = name.min(SHORT_NAME.max(room * 2 / 5));
    for column in LEFT_OUT {
        if shortest + others(&widths) <= room {
            break;
        }
        widths[column] = None;
    }
    // The rest of the width is for the names.
    widths[0] = Some(name.min(room.saturating_sub(others(&widths)).max(1)));
    widths
}

/// Returns the columns of a row as a line, and its width.
fn cells(row: &Row, widths: &[Option<usize>; COLUMNS], room: Option<usize>) -> (String, usize) {
    let (mut line, mut taken) = (String::new(), 0);
    let mut left = room.unwrap_or(usize::MAX);
    for (column, (cell, &wide)) in row.cells.iter().zip(widths).enumerate() {
        let Some(wide) = wide else { continue };
        let gap = if column == 0 { "" } else { GAP };
        // If not even name and state fit, the line is cut within the state.
        let wide = wide.min(left.saturating_sub(gap.len()));
        if wide == 0 {
            break;
        }
        let cell = if column == 0 { elide(cell, wide) } else { clip(cell, wide) };
        let padding = " ".repeat(wide - width(&cell));
        let style = if column == 1 { style(&row.cells[1]) } else { Style::new() };
        line.push_str(&match column < WORDS {
            true => format!("{gap}{style}{cell}{style:#}{padding}"),
            false => format!("{gap}{padding}{cell}"),
        });
        left -= gap.len() + wide;
        taken += gap.len() + wide;
    }
    (line, taken)
}

fn style(state: &str) -> Style {
    let color = match state {
        "ready" => AnsiColor::Green,
        "backoff" | "failed" | "suspect" | "down" => AnsiColor::Red,
        "STATE" => return Style::new(),
        _ => AnsiColor::Yellow,
    };
    color.on_default()
}
