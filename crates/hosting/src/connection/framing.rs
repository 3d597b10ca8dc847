//! Where a request ends.
//!
//! Heads are parsed by the parser that the HTTP library uses. Only what has one meaning is taken for a
//! whole request; everything else goes to the HTTP library, which refuses it, and is the last of its
//! connection.

use super::chunks::{Chunks, Step};
use crate::body;

/// The largest head, from the first byte to the empty line.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
/// What chunks may add to a body: their sizes, extensions and trailers.
const MAX_CHUNKING: usize = 16 * 1024;
/// The HTTP library refuses more.
const MAX_HEADERS: usize = 96;

/// What has come of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A part of the head.
    Head,
    /// The head, and a part of the body. The body is at most this many bytes more.
    Body(usize),
    /// The request is as many bytes.
    Whole(usize),
    /// As many bytes decide the answer, whatever follows. The connection ends with it.
    Decided(usize),
    /// The head is too long: 431.
    HeadTooLong,
    /// The body has more beside its content than content: 413.
    BodyTooLong,
}

/// Looks for the end of one request while it comes.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    /// Bytes in which no head ends.
    searched: usize,
    /// Where parsing is worth it also without an end in sight, for what is no request at all.
    parse_at: usize,
    body: Option<(usize, Body)>,
    asks: bool,
}

#[derive(Debug)]
enum Body {
    Length(usize),
    Chunked(Chunks),
}

/// What a head says.
enum Head {
    Unfinished,
    /// The HTTP library refuses it.
    Refused,
    /// Where it ends, and what follows. `None` is a body that nobody waits for.
    Complete(usize, Option<Body>),
}

impl Framing {
    /// Whether the client waits for a word before it sends the body. It is asked once.
    pub(crate) fn take_ask(&mut self) -> bool {
        std::mem::take(&mut self.asks)
    }

    /// Looks at all that has come of this request.
    pub(crate) fn look(&mut self, bytes: &mut [u8]) -> Found {
        if self.body.is_none() {
            if !self.is_worth_parsing(bytes) {
                return if bytes.len() >= MAX_HEAD { Found::HeadTooLong } else { Found::Head };
            }
            match self.parse(bytes) {
                Head::Unfinished if bytes.len() < MAX_HEAD => return Found::Head,
                Head::Unfinished => return Found::HeadTooLong,
                Head::Complete(end, _) if end > MAX_HEAD => return Found::HeadTooLong,
                Head::Refused => return Found::Decided(bytes.len()),
                Head::Complete(end, None) => return Found::Decided(end),
                Head::Complete(end, Some(body)) => self.body = Some((end, body)),
            }
        }
        match &mut self.body {
            None => Found::Head,
            Some((head, Body::Length(length))) => {
                match (*head + *length).checked_sub(bytes.len()) {
                    Some(missing @ 1..) => Found::Body(missing),
                    _ => Found::Whole(*head + *length),
                }
            }
            Some((head, Body::Chunked(chunks))) => match chunks.step(&bytes[*head..]) {
                Step::End(length) => Found::Whole(*head + length),
                Step::Broken => Found::Decided(bytes.len()),
                _ if chunks.content() > body::MAX_BYTES => Found::Decided(bytes.len()),
                Step::More => {
                    match (*head + body::MAX_BYTES + MAX_CHUNKING).checked_sub(bytes.len()) {
                        Some(room @ 1..) => Found::Body(room),
                        _ => Found::BodyTooLong,
                    }
                }
            },
        }
    }

    fn is_worth_parsing(&mut self, bytes: &[u8]) -> bool {
        // An end may lie across what was searched and what is new.
        let new = &bytes[self.searched.saturating_sub(3)..];
        self.searched = bytes.len();
        let ends = new.windows(2).any(|pair| pair == b"\n\n")
            || new.windows(3).any(|three| three == b"\n\r\n");
        if ends || bytes.len() >= self.parse_at {
            self.parse_at = 2 * bytes.len();
            return true;
        }
        false
    }

    fn parse(&mut self, bytes: &mut [u8]) -> Head {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let end = match request.parse(bytes) {
            Ok(httparse::Status::Complete(end)) => end,
            Ok(httparse::Status::Partial) => return Head::Unfinished,
            Err(_) => return Head::Refused,
        };
        let mut length = None;
        let mut chunked = false;
        let mut plain = true;
        let mut asks = false;
        let mut hidden: Vec<(usize, &[u8])> = Vec::new();
        for header in request.headers.iter() {
            let name = header.name;
            if name.eq_ignore_ascii_case("content-length") {
                plain &= length.is_none() && !chunked;
                length = Some(number(header.value));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                plain &= length.is_none() && !chunked && request.version == Some(1);
                plain &= header.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                chunked = true;
            } else if name.eq_ignore_ascii_case("expect") {
                let known = header.value.trim_ascii().eq_ignore_ascii_case(b"100-continue");
                asks |= known && request.version == Some(1);
                // The word that the client waits for is said here, once, and not where it is too late.
                // Nobody knows any other expectation, or any of HTTP/1.0.
                hidden.push((name.as_ptr().addr(), b"waited"));
            } else if name.eq_ignore_ascii_case("upgrade") {
                // There is no other protocol here, so the request is served as if none were offered (RFC 9110
                // section 7.8). For the HTTP library a body would have no end, and the connection none but its own.
                hidden.push((name.as_ptr().addr(), b"ignored"));
            } else if name.eq_ignore_ascii_case("connection") {
                let options = header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                let offers = options.filter(|option| option.eq_ignore_ascii_case(b"upgrade"));
                hidden.extend(offers.map(|option| (option.as_ptr().addr(), &b"ignored"[..])));
            }
        }
        let waits = matches!(request.method, Some("POST" | "PUT" | "PATCH"));
        let start = bytes.as_ptr().addr();
        for (at, word) in hidden {
            if let Some(place) = bytes.get_mut(at - start..at - start + word.len()) {
                place.copy_from_slice(word);
            }
        }
        let body = match (length, chunked) {
            // The HTTP library refuses the head.
            _ if !plain => None,
            (None, false) => Some(Body::Length(0)),
            (None, true) => Some(Body::Chunked(Chunks::default())),
            (Some(Some(length)), _) if length <= body::MAX_BYTES => Some(Body::Length(length)),
            // Refused for its size, or by the HTTP library for what it says.
            (Some(_), _) => None,
        };
        let has_come = match &body {
            Some(Body::Length(length)) => end + length <= bytes.len(),
            _ => false,
        };
        self.asks = asks && waits && body.is_some() && !has_come;
        // No route reads a body of another method.
        Head::Complete(end, body.filter(|_| waits || has_come))
    }
}

/// A length as the HTTP library takes it, if it is one that can be meant.
fn number(value: &[u8]) -> Option<usize> {
    let text = str::from_utf8(value).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found as the bytes come one by one, and where.
    fn find(bytes: &[u8]) -> (usize, Found) {
        let mut framing = Framing::default();
        for end in 1..=bytes.len() {
            let found = framing.look(&mut bytes[..end].to_vec());
            if !matches!(found, Found::Head | Found::Body(_)) {
                return (end, found);
            }
        }
        (bytes.len(), Framing::default().look(&mut bytes.to_vec()))
    }

    #[test]
    fn a_request_ends_where_it_says() {
        let post = "POST / HTTP/1.1\r\nHost: x\r\n";
        for request in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\nHost: x\n\n".to_owned(),
            "\r\n\r\nGET / HTTP/1.0\r\n\r\n".to_owned(),
            format!("{post}\r\n"),
            format!("{post}Content-Length: 0\r\n\r\n"),
            format!("{post}content-LENGTH: 5\r\n\r\nab\r\n\r"),
            format!("{post}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            format!("{post}Transfer-Encoding: Chunked \r\n\r\n5\r\nabcde\r\n0\r\n\r\n"),
        ] {
            let length = request.len();
            assert_eq!(find(request.as_bytes()), (length, Found::Whole(length)), "{request:?}");
            let mut followed = format!("{request}GET / HTTP/1.1\r\n").into_bytes();
            let found = Framing::default().look(&mut followed);
            assert_eq!(found, Found::Whole(length), "{request:?}");
        }
    }

    #[test]
    fn what_has_two_meanings_or_is_too_much_is_waited_for_by_nobody() {
        for lines in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: \r\n",
            "Content-Length: 16385\r\n",
            "Content-Length: 99999999999999999999999999\r\n",
        ] {
            let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
            assert_eq!(find(head.as_bytes()), (head.len(), Found::Decided(head.len())), "{lines}");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(find(old.as_bytes()), (old.len(), Found::Decided(old.len())));
        let unread = "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(find(unread.as_bytes()), (unread.len(), Found::Decided(unread.len())));
        let no_request = "\x16\x03\x01";
        assert_eq!(find(no_request.as_bytes()), (1, Found::Decided(1)));
    }

    #[test]
    fn a_head_and_what_is_beside_a_body_have_bounds() {
        let start = "POST / HTTP/1.1\r\nHost: x\r\nX: ";
        let head =
            |length: usize| format!("{start}{}\r\n\r\n", "a".repeat(length - start.len() - 4));
        let longest = head(MAX_HEAD);
        assert_eq!(find(longest.as_bytes()), (MAX_HEAD, Found::Whole(MAX_HEAD)));
        assert_eq!(find(head(MAX_HEAD + 1).as_bytes()).1, Found::HeadTooLong);
        assert_eq!(find(head(100_000).as_bytes()), (MAX_HEAD, Found::HeadTooLong));
        assert_eq!(Framing::default().look(&mut head(20_000).into_bytes()), Found::HeadTooLong);

        let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let beside = format!("{chunked}5;{}", "a".repeat(40_000));
        let found = find(beside.as_bytes());
        assert_eq!(found, (chunked.len() + body::MAX_BYTES + MAX_CHUNKING, Found::BodyTooLong));
        let content = format!("{chunked}5000\r\n{}", "a".repeat(20_000));
        let decided = chunked.len() + 6 + body::MAX_BYTES + 1;
        assert_eq!(find(content.as_bytes()), (decided, Found::Decided(decided)));
    }

    #[test]
    fn who_asks_before_sending_is_told_once_and_only_if_the_body_is_wanted() {
        let asks = |lines: &str| {
            let start = "POST / HTTP/1.1\r\nHost: x\r\nexpect: 100-continue\r\n";
            let mut bytes = format!("{start}{lines}\r\n").into_bytes();
            let mut framing = Framing::default();
            framing.look(&mut bytes);
            assert!(!String::from_utf8_lossy(&bytes).contains("expect"));
            (framing.take_ask(), framing.take_ask())
        };
        assert_eq!(asks("Content-Length: 5\r\n"), (true, false));
        assert_eq!(asks("Transfer-Encoding: chunked\r\n"), (true, false));
        assert_eq!(asks("Content-Length: 16385\r\n"), (false, false));
        assert_eq!(asks("Content-Length: 0\r\n"), (false, false));
    }

    #[test]
    fn another_protocol_that_is_offered_goes_no_further_and_the_body_ends_where_it_says() {
        for offer in [
            "Upgrade: websocket\r\nConnection: Upgrade\r\n",
            "Upgrade: websocket\r\n",
            "UPGRADE: WebSocket\r\nconnection: keep-alive, UPGRADE\r\n",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            "Connection: upgrade\r\nConnection: ,upgrade , x\r\nUpgrade: a/1\r\nUpgrade: b\r\n",
        ] {
            for version in ["1.0", "1.1"] {
                let head = format!("POST / HTTP/{version}\r\nHost: x\r\n{offer}");
                let mut bytes = format!("{head}Content-Length: 5\r\n\r\nabcdeGET /").into_bytes();
                let whole = Found::Whole(bytes.len() - "GET /".len());
                assert_eq!(Framing::default().look(&mut bytes), whole, "{head}");
                let left = String::from_utf8(bytes).unwrap().to_lowercase();
                assert!(!left.contains("upgrade"), "{left}");
                let kept = head.to_lowercase().contains("keep-alive");
                assert_eq!(left.contains("keep-alive"), kept, "{left}");
            }
        }
        // Neither another header nor another option, nor what is in a body.
        let other = "POST /upgrade HTTP/1.1\r\nHost: upgrade\r\nX-Upgrade: upgrade\r\n\
                     Connection: upgrades, un-upgrade\r\nContent-Length: 7\r\n\r\nupgrade";
        let mut bytes = other.as_bytes().to_vec();
        assert_eq!(Framing::default().look(&mut bytes), Found::Whole(other.len()));
        assert_eq!(bytes, other.as_bytes());
    }

    #[test]
    fn nobody_is_told_to_go_on_who_did_not_ask_so_and_no_expectation_goes_further() {
        for (version, expectations, told) in [
            ("1.1", "Expect:  100-Continue \r\n", true),
            ("1.1", "Expect: 100-continue\r\nexpect: 100-continue\r\n", true),
            ("1.1", "EXPECT: 100-continue\r\nExpect: other\r\n", true),
            ("1.1", "Expect: other\r\n", false),
            ("1.1", "Expect: 100-continues\r\nExpect: \r\n", false),
            ("1.0", "Expect: 100-continue\r\n", false),
        ] {
            let start = format!("POST / HTTP/{version}\r\nHost: x\r\n{expectations}");
            let mut bytes = format!("{start}Content-Length: 5\r\n\r\n").into_bytes();
            let mut framing = Framing::default();
            assert_eq!(framing.look(&mut bytes), Found::Body(5), "{start}");
            assert_eq!(framing.take_ask(), told, "{start}");
            let left = String::from_utf8(bytes).unwrap().to_lowercase();
            assert!(!left.contains("\nexpect"), "{left}");
        }
    }
}
