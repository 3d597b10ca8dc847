//! A file, a line at a time, in bounded memory whatever is in it.

use std::io::{self, BufRead, Read as _};

/// A user with every member at its longest is shorter.
const MOST_BYTES: usize = 16 * 1024;
/// What some editors write at the beginning of a file in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line was longer than any user can be. It was passed over.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("has more than {MOST_BYTES} bytes, and no user can have so much")]
pub(super) struct TooLong;

/// A line with its number, without its end.
type Numbered = (u64, Result<Vec<u8>, TooLong>);

/// The lines of a file, and the number of the last one.
pub(super) struct Lines<R> {
    input: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, number: 0 }
    }

    /// The next line with its number, without its end, which may be that of Windows; `None` where there is none.
    pub(super) fn next_line(&mut self) -> io::Result<Option<Numbered>> {
        let mut line = Vec::new();
        // Room for an end of two bytes.
        let most = MOST_BYTES as u64 + 2;
        if self.input.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        } else if line.len() > MOST_BYTES {
            self.input.skip_until(b'\n')?;
        }
        if self.number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        let line = if line.len() > MOST_BYTES { Err(TooLong) } else { Ok(line) };
        Ok(Some((self.number, line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<(u64, Result<Vec<u8>, TooLong>)> {
        let mut lines = Lines::new(text);
        std::iter::from_fn(|| lines.next_line().expect("memory can be read")).collect()
    }

    #[test]
    fn lines_end_as_they_do_on_any_system_and_the_last_may_have_no_end() {
        for text in [&b"a\n\nb\n"[..], b"a\r\n\r\nb", b"\xef\xbb\xbfa\n\r\nb\r\n"] {
            let expected = [(1, "a"), (2, ""), (3, "b")];
            assert_eq!(all(text), expected.map(|(n, line)| (n, Ok(line.as_bytes().to_vec()))));
        }
        assert!(all(b"").is_empty());
        assert_eq!(all(b"\xff\n"), [(1, Ok(vec![0xff]))]);
        // Elsewhere it is not taken away.
        assert_eq!(all(b"a\n\xef\xbb\xbf")[1], (2, Ok(BYTE_ORDER_MARK.to_vec())));
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_counted_once() {
        for (bytes, fits) in [
            (MOST_BYTES - 1, true),
            (MOST_BYTES, true),
            (MOST_BYTES + 1, false),
            (MOST_BYTES + 2, false),
            (MOST_BYTES + 3, false),
            (10 * MOST_BYTES, false),
        ] {
            for end in ["\n", "\r\n"] {
                let text = format!("{}{end}next{end}", "x".repeat(bytes));
                let lines = all(text.as_bytes());
                assert_eq!(lines.len(), 2, "{bytes}");
                assert_eq!((lines[0].0, lines[0].1.is_ok()), (1, fits), "{bytes}");
                assert_eq!(lines[1], (2, Ok(b"next".to_vec())), "{bytes}");
            }
            let last = all(&vec![b'x'; bytes]);
            assert_eq!((last.len(), last[0].1.is_ok()), (1, fits), "{bytes}");
        }
    }
}
