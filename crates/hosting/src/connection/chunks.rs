//! Where a body that comes in chunks ends (RFC 9112 section 7.1), in the states of the HTTP library:
//! what it takes is taken here, and nothing else.

/// A body in chunks, looked at as it comes.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    state: State,
    /// Of the chunk that is being looked at: what is left of it.
    left: u64,
    content: usize,
    looked_at: usize,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The end has not come.
    More,
    /// The body is as many bytes, its chunking included.
    End(usize),
    /// These are no chunks.
    Broken,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    SizeFirst,
    Size,
    SizeSpace,
    Extension,
    SizeLf,
    Content,
    ContentCr,
    ContentLf,
    Trailer,
    TrailerLf,
    EndCr,
    EndLf,
}

impl Chunks {
    /// How many bytes of content have come.
    pub(crate) fn content(&self) -> usize {
        self.content
    }

    /// Looks at what is new in `all` that has come of the body.
    pub(crate) fn step(&mut self, all: &[u8]) -> Step {
        while let Some(&byte) = all.get(self.looked_at) {
            if let State::Content = self.state {
                let here = all.len() - self.looked_at;
                let part = usize::try_from(self.left).unwrap_or(usize::MAX).min(here);
                self.left -= part as u64;
                self.content += part;
                self.looked_at += part;
                if self.left == 0 {
                    self.state = State::ContentCr;
                }
                continue;
            }
            self.looked_at += 1;
            if let (State::EndLf, b'\n') = (self.state, byte) {
                return Step::End(self.looked_at);
            }
            match self.after(byte) {
                Some(state) => self.state = state,
                None => return Step::Broken,
            }
        }
        Step::More
    }

    fn after(&mut self, byte: u8) -> Option<State> {
        let digit = || char::from(byte).to_digit(16).map(u64::from);
        match (self.state, byte) {
            (State::SizeFirst, _) => {
                self.left = digit()?;
                Some(State::Size)
            }
            (State::Size | State::SizeSpace, b'\t' | b' ') => Some(State::SizeSpace),
            (State::Size | State::SizeSpace, b';') => Some(State::Extension),
            (State::Size | State::SizeSpace | State::Extension, b'\r') => Some(State::SizeLf),
            (State::Size, _) => {
                self.left = self.left.checked_mul(16)? + digit()?;
                Some(State::Size)
            }
            (State::Extension, 0x00..=0x08 | 0x0a..=0x1f | 0x7f) => None,
            (State::Extension, _) => Some(State::Extension),
            (State::SizeLf, b'\n') if self.left > 0 => Some(State::Content),
            (State::SizeLf | State::TrailerLf, b'\n') => Some(State::EndCr),
            (State::ContentCr, b'\r') => Some(State::ContentLf),
            (State::ContentLf, b'\n') => Some(State::SizeFirst),
            (State::EndCr, b'\r') => Some(State::EndLf),
            (State::Trailer, b'\r') => Some(State::TrailerLf),
            (State::EndCr | State::Trailer, _) => Some(State::Trailer),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In one piece, and byte by byte.
    fn step(bytes: &str) -> (Step, usize) {
        let mut slowly = Chunks::default();
        let mut last = Step::More;
        for end in 1..=bytes.len() {
            last = slowly.step(&bytes.as_bytes()[..end]);
            if last != Step::More {
                break;
            }
        }
        let mut at_once = Chunks::default();
        assert_eq!(at_once.step(bytes.as_bytes()), last, "{bytes:?}");
        (last, at_once.content())
    }

    #[test]
    fn chunks_end_with_an_empty_one() {
        for (bytes, content) in [
            ("0\r\n\r\n", 0),
            ("5\r\nabcde\r\n0\r\n\r\n", 5),
            ("1\r\na\r\nA\r\n0123456789\r\n00\r\n\r\n", 11),
            ("2 ;a=\"b\"\r\n\r\n\r\n0;c\r\n\r\n", 2),
            ("1\t\r\na\r\n0\r\nTrailer: a\r\nOther: b\r\n\r\n", 1),
        ] {
            assert_eq!(step(bytes), (Step::End(bytes.len()), content), "{bytes:?}");
            let more = format!("{bytes}GET /");
            assert_eq!(step(&more), (Step::End(bytes.len()), content), "{more:?}");
            for end in 0..bytes.len() {
                assert_eq!(step(&bytes[..end]).0, Step::More, "{bytes:?} to {end}");
            }
        }
    }

    #[test]
    fn odd_chunks_are_none() {
        for bytes in [
            "\r\n",
            "g",
            "+5\r\n",
            "-5\r\n",
            "0x5\r\n",
            "5\n",
            "5\rx",
            "5 5\r\n",
            "5;a\n",
            "5\r\nabcdef",
            "5\r\nabcde\n",
            "10000000000000005\r\n",
            "0\r\n\rx",
            "0\r\nT: a\rx",
        ] {
            assert_eq!(step(bytes).0, Step::Broken, "{bytes:?}");
        }
    }
}
