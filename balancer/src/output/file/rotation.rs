//! The renamings of a rotation. Pure.

/// The renamings, in order, that move number 0 to number 1. `exists` returns true for the numbers that are taken.
///
/// Only files that are in the way move: up to the first free number, or over the last of `keep`. So when a renaming
/// failed half way and is tried again, no file moves further than needed.
pub(super) fn renamings(keep: u32, exists: impl Fn(u32) -> bool) -> Vec<(u32, u32)> {
    let end = (1..keep).find(|&number| !exists(number)).unwrap_or(keep);
    (0..end).rev().map(|number| (number, number + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_moves_one_further_and_the_last_is_replaced() {
        assert_eq!(renamings(3, |_| true), [(2, 3), (1, 2), (0, 1)]);
        assert_eq!(renamings(1, |_| true), [(0, 1)]);
        assert_eq!(renamings(0, |_| true), []);
    }

    #[test]
    fn gap_in_numbers_stops_the_renaming() {
        assert_eq!(renamings(5, |_| false), [(0, 1)]);
        assert_eq!(renamings(5, |number| number != 3), [(2, 3), (1, 2), (0, 1)]);
        // A second try after only the first of them was done.
        assert_eq!(renamings(5, |number| number != 2), [(1, 2), (0, 1)]);
    }
}
