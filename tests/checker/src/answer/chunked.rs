//! The chunked transfer coding (RFC 9112 7.1), read in pieces of any size. Pure.

/// The longest chunk extension or trailer line that is accepted.
const MAX_LINE: u32 = 8 << 10;

/// The position of the reader in a chunked body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunked {
    /// Before the first digit of a size.
    #[default]
    Begin,
    /// Within the digits of a size.
    Size(u64),
    /// After the size, in blanks or an extension of this many bytes so far.
    Extension(u64, u32),
    /// The next byte is the LF of the size line.
    SizeEnd(u64),
    /// Within a chunk, with this many bytes still to come.
    Data(u64),
    /// The next byte is the CR after a chunk.
    DataCr,
    /// The next byte is the LF after a chunk.
    DataLf,
    /// In a trailer line, with this many bytes so far.
    Trailer(u32),
    /// The next byte is the LF of a trailer line. True if the line is empty, which ends the body.
    TrailerLf(bool),
    /// The body is complete.
    Done,
}

impl Chunked {
    /// Reads some of `bytes`. Returns the part that is content (perhaps empty), and the bytes that are left.
    ///
    /// # Errors
    ///
    /// Returns the byte that is not allowed at this position.
    pub fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), u8> {
        if let Self::Data(left) = *self {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (content, rest) = bytes.split_at(now);
            let left = left - now as u64;
            *self = if left == 0 { Self::DataCr } else { Self::Data(left) };
            return Ok((content, rest));
        }
        let Some((&byte, rest)) = bytes.split_first() else { return Ok((&[], bytes)) };
        *self = self.step(byte).ok_or(byte)?;
        Ok((&[], rest))
    }

    fn step(self, byte: u8) -> Option<Self> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        Some(match (self, byte) {
            (Self::Begin, _) => Self::Size(digit?),
            (Self::Size(size), _) if digit.is_some() => Self::Size(size.checked_mul(16)?.checked_add(digit?)?),
            (Self::Size(size) | Self::Extension(size, _), b'\r') => Self::SizeEnd(size),
            (Self::Size(size), b';' | b' ' | b'\t') => Self::Extension(size, 0),
            (Self::Extension(size, length), _) if length < MAX_LINE && byte != b'\n' => {
                Self::Extension(size, length + 1)
            }
            (Self::SizeEnd(0), b'\n') => Self::Trailer(0),
            (Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Begin,
            (Self::Trailer(length), b'\r') => Self::TrailerLf(length == 0),
            (Self::Trailer(length), _) if length < MAX_LINE && byte != b'\n' => Self::Trailer(length + 1),
            (Self::TrailerLf(true), b'\n') => Self::Done,
            (Self::TrailerLf(false), b'\n') => Self::Trailer(0),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads pieces of `size` bytes. Returns the content, true if it is complete, and the number of bytes left.
    fn read(text: &str, size: usize) -> Result<(String, bool, usize), u8> {
        let mut state = Chunked::default();
        let mut content = Vec::new();
        let mut left = text.len();
        for piece in text.as_bytes().chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() && state != Chunked::Done {
                let (some, after) = state.read(rest)?;
                content.extend_from_slice(some);
                left -= rest.len() - after.len();
                rest = after;
            }
        }
        Ok((String::from_utf8(content).unwrap(), state == Chunked::Done, left))
    }

    #[test]
    fn body_in_pieces_of_any_size_is_read_alike() {
        let text = "5\r\nhello\r\n00A ;name=value\r\n, world...\r\n0\r\nTrailer: yes\r\n\r\nrest";
        for size in 1..=text.len() {
            assert_eq!(read(text, size), Ok(("hello, world...".to_owned(), true, 4)), "pieces of {size}");
        }
    }

    #[test]
    fn body_that_ends_early_is_not_complete() {
        let text = "5\r\nhello\r\n0\r\n\r\n";
        for length in 0..text.len() {
            assert!(matches!(read(&text[..length], 7), Ok((_, false, 0))), "{length}");
        }
    }

    #[test]
    fn invalid_chunk_is_refused() {
        for text in
            ["x\r\n", "\r\n", "5hello", "5\nhello", "5\r\nhello0\r\n", "0\r\n\n", "fffffffffffffffff\r\n", "-1\r\n"]
        {
            assert!(read(text, 100).is_err(), "{text:?}");
        }
    }
}
