//! The bytes that are sent and must come back. Pure.
//!
//! A content is a short text repeated. The text of an operation is its token, and the token's length is prime. So if a
//! piece of any usual buffer's size is lost, doubled or moved, the text is shifted and the fault shows. A piece of
//! another operation shows as well.

use std::fmt;
use std::sync::Arc;

/// The number of bytes that are prepared, so that long pieces are written and compared at once.
const BLOCK: u64 = 64 << 10;

/// The period of the content of `GET /blob/:bytes`: the byte at offset i is i mod 251.
const COUNTING: u8 = 251;

/// The name of one operation in one run: `t`, the run in 8 hexadecimal digits, `.`, the operation's number in 12, `;`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    run: u32,
    number: u64,
}

impl Token {
    /// The length of a token's text in bytes, a prime.
    pub const LENGTH: usize = 23;

    /// Makes the token of operation `number` in the run `run`.
    pub fn new(run: u32, number: u64) -> Self {
        Self { run, number: number & 0xffff_ffff_ffff }
    }

    /// Returns the operation's number in its run.
    pub fn number(self) -> u64 {
        self.number
    }

    /// Reads a token's text at the start of `bytes`. A server can use this to recognise the operation.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes.get(..Self::LENGTH)?).ok()?;
        let (run, number) = text.strip_prefix('t')?.strip_suffix(';')?.split_once('.')?;
        let token = Self { run: u32::from_str_radix(run, 16).ok()?, number: u64::from_str_radix(number, 16).ok()? };
        (token.to_string() == text).then_some(token)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{:08x}.{:012x};", self.run, self.number)
    }
}

/// A text repeated up to a length.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// The text, repeated often enough that a long piece can begin at any position of the text.
    block: Arc<[u8]>,
    period: usize,
    length: u64,
}

/// The first wrong byte of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) offset: u64,
    /// The right byte; `None` if the content ends before this offset.
    pub(crate) expected: Option<u8>,
    pub(crate) found: u8,
}

impl Content {
    /// Returns `text`, which must not be empty, repeated and cut at `length` bytes.
    pub(crate) fn repeated(text: &[u8], length: u64) -> Self {
        let wanted = usize::try_from(length.min(BLOCK)).unwrap_or(0) + text.len();
        let mut block = Vec::with_capacity(wanted + text.len());
        block.extend_from_slice(text);
        while block.len() < wanted {
            // Doubling the block keeps whole periods.
            let more = block.len().min((wanted - block.len()).next_multiple_of(text.len()));
            block.extend_from_within(..more);
        }
        Self { block: block.into(), period: text.len().max(1), length }
    }

    /// Returns the token repeated without an end.
    pub(crate) fn endless(token: Token) -> Self {
        Self { length: u64::MAX, ..Self::repeated(token.to_string().as_bytes(), 1) }
    }

    /// Returns the content of `GET /blob/:bytes`.
    pub(crate) fn counting(length: u64) -> Self {
        let text: Vec<u8> = (0..COUNTING).collect();
        Self::repeated(&text, length)
    }

    /// Returns the same content with its end at `length`.
    #[must_use]
    pub(crate) fn cut(self, length: u64) -> Self {
        Self { length, ..self }
    }

    /// Returns the length in bytes; `u64::MAX` means without an end.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Returns some bytes from `offset` on. Empty only at the end.
    pub(crate) fn piece(&self, offset: u64) -> &[u8] {
        let at = usize::try_from(offset % self.period as u64).unwrap_or(0);
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let piece = self.block.get(at..).unwrap_or_default();
        &piece[..piece.len().min(left)]
    }

    /// Checks that the bytes at `offset` are `found`.
    pub(crate) fn check(&self, mut offset: u64, mut found: &[u8]) -> Result<(), Difference> {
        while !found.is_empty() {
            let expected = self.piece(offset);
            let (now, later) = found.split_at(found.len().min(expected.len()));
            if expected.is_empty() || now != &expected[..now.len()] {
                let same = now.iter().zip(expected).take_while(|(a, b)| a == b).count();
                let found = found.get(same).copied().unwrap_or_default();
                return Err(Difference { offset: offset + same as u64, expected: expected.get(same).copied(), found });
            }
            offset += now.len() as u64;
            found = later;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, expected, found } = self;
        match expected {
            Some(expected) => write!(f, "byte {offset} of the content is {found:#04x}, not {expected:#04x}"),
            None => write!(f, "byte {offset} of the content is {found:#04x}, but the content should have ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(content: &Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !content.piece(bytes.len() as u64).is_empty() {
            bytes.extend_from_slice(content.piece(bytes.len() as u64));
        }
        bytes
    }

    #[test]
    fn token_is_parsed_as_it_is_written() {
        let token = Token::new(0xdead_beef, 42);
        assert_eq!(token.to_string().len(), Token::LENGTH);
        assert_eq!(Token::parse(format!("{token}and more").as_bytes()), Some(token));
        for wrong in ["", "t", "tdeadbeef.00000000002a", "xdeadbeef.00000000002a;", "t+eadbeef.00000000002a;"] {
            assert_eq!(Token::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn content_of_any_length_is_its_text_repeated() {
        for length in [0, 1, 22, 23, 24, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
            let content = Content::repeated(b"0123456789abcdefghijkl;", length);
            let expected: Vec<u8> =
                b"0123456789abcdefghijkl;".iter().copied().cycle().take(usize::try_from(length).unwrap()).collect();
            assert_eq!(all(&content), expected, "{length}");
            assert_eq!(content.check(0, &expected), Ok(()), "{length}");
        }
        assert_eq!(all(&Content::counting(1000))[250..253], [250, 0, 1]);
    }

    #[test]
    fn wrong_byte_and_lost_doubled_or_surplus_piece_are_found() {
        let content = Content::repeated(Token::new(1, 2).to_string().as_bytes(), 200_000);
        let good = all(&content);
        for offset in [0, 1, 22, 23, 65_535, 65_536, 199_999] {
            let mut bad = good.clone();
            bad[offset] ^= 1;
            let difference = content.check(0, &bad).unwrap_err();
            assert_eq!(difference.offset, offset as u64);
        }
        for size in [1, 16, 512, 1448, 4096, 16_384, 32_768, 65_536] {
            let lost = [&good[..700], &good[700 + size..]].concat();
            assert!(content.check(0, &lost).is_err(), "{size} lost");
            let doubled = [&good[..70_000], &good[70_000 - size..]].concat();
            assert!(content.check(0, &doubled).is_err(), "{size} doubled");
        }
        let surplus = content.check(200_000, b"x").unwrap_err();
        assert_eq!((surplus.offset, surplus.expected), (200_000, None));
    }

    #[test]
    fn content_of_another_operation_is_found() {
        let [mine, other] = [2, 3].map(|number| Content::repeated(Token::new(1, number).to_string().as_bytes(), 500));
        assert!(mine.check(0, &all(&other)).is_err());
    }
}
