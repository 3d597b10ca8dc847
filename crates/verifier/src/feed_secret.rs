//! What both ends of a revocation feed make of its secret.
//!
//! The secret itself is never sent. A follower shows a bearer that is derived from it, and sends a
//! nonce; the feed's answer has a code (MAC) by which the follower knows that the answer is the
//! feed's, whole, and one to this very question. On a network without TLS nobody can then say "all
//! is fresh, and nothing was revoked", or repeat an earlier answer; who listens can still read.

use std::fmt::Write as _;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};

/// The header of an answer that has its code: HMAC-SHA-256 in hexadecimal digits.
pub const MAC_HEADER: &str = "x-latchkey-mac";

/// Keeps these codes apart from everything else that may ever be made with the key.
const PURPOSE: &[u8] = b"latchkey-feed-1";

/// The secret of a revocation feed, as its two ends use it.
pub struct FeedSecret {
    bearer: String,
    mac: hmac::Key,
}

impl FeedSecret {
    /// Derives what is needed. The secret needs at least 32 random characters to be one.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let bearer = hex(hmac::sign(&secret, b"latchkey feed bearer 1").as_ref());
        let mac = hmac::sign(&secret, b"latchkey feed mac 1");
        Self { bearer, mac: hmac::Key::new(hmac::HMAC_SHA256, mac.as_ref()) }
    }

    /// What a follower shows, in hexadecimal digits.
    #[must_use]
    pub fn bearer(&self) -> &str {
        &self.bearer
    }

    /// Whether this is the bearer. Takes equally long whatever is wrong with it.
    #[must_use]
    pub fn is_bearer(&self, given: &[u8]) -> bool {
        verify_slices_are_equal(given, self.bearer.as_bytes()).is_ok()
    }

    /// The code of an answer: `nonce` and `cursor` as they were sent, and the `body` before any
    /// content coding. An answer to a question without a cursor, as for the key set, has an empty one.
    #[must_use]
    pub fn code(&self, nonce: &str, cursor: &str, body: &[u8]) -> String {
        hex(hmac::sign(&self.mac, &message(nonce, cursor, body)).as_ref())
    }

    /// Whether `code` is that of this answer. Takes equally long whatever is wrong with it.
    #[must_use]
    pub fn proves(&self, code: &[u8], nonce: &str, cursor: &str, body: &[u8]) -> bool {
        verify_slices_are_equal(code, self.code(nonce, cursor, body).as_bytes()).is_ok()
    }
}

/// Each field after its length, so that no two questions and answers make the same text.
fn message(nonce: &str, cursor: &str, body: &[u8]) -> Vec<u8> {
    let body = digest::digest(&digest::SHA256, body);
    let mut message = Vec::new();
    for field in [PURPOSE, nonce.as_bytes(), cursor.as_bytes(), body.as_ref()] {
        message.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        message.extend_from_slice(field);
    }
    message
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const NONCE: &str = "AAAAAAAAAAAAAAAAAAAAAA";

    /// Computed by another program. Who changes this cuts off every follower there is.
    #[test]
    fn the_bearer_and_the_code_are_what_others_compute() {
        let secret = FeedSecret::new(SECRET);
        let bearer = "10854056b42088054e7176837d82fec7ee0aeebb48a1f40a46910cbedcab3a65";
        assert_eq!(secret.bearer(), bearer);
        let code = "b457989d924da7932052fde01aadc62676a4e987c6314965c1d2f2c4b1d2b2d1";
        assert_eq!(secret.code(NONCE, "e.1.a.2", br#"{"entries":[]}"#), code);
    }

    #[test]
    fn a_code_proves_one_answer_to_one_question_by_one_secret() {
        let secret = FeedSecret::new(SECRET);
        let code = secret.code(NONCE, "e.1.a.2", b"body");
        let proves = |code: &str, nonce, cursor, body: &str| {
            secret.proves(code.as_bytes(), nonce, cursor, body.as_bytes())
        };
        assert!(proves(&code, NONCE, "e.1.a.2", "body"));
        assert!(!proves(&code, "BAAAAAAAAAAAAAAAAAAAAA", "e.1.a.2", "body"));
        assert!(!proves(&code, NONCE, "e.1.a.3", "body"));
        assert!(!proves(&code, NONCE, "", "body"));
        assert!(!proves(&code, NONCE, "e.1.a.2", "bod"));
        // A character that moves from one field to the next.
        assert!(!proves(&code, "AAAAAAAAAAAAAAAAAAAAAAe", ".1.a.2", "body"));
        for wrong in ["", &code[1..], &code.to_uppercase(), &format!("{code}0")] {
            assert!(!proves(wrong, NONCE, "e.1.a.2", "body"), "{wrong}");
        }
        let other = FeedSecret::new("0123456789abcdef0123456789abcdeF");
        assert!(!other.proves(code.as_bytes(), NONCE, "e.1.a.2", b"body"));
        assert!(
            !secret.is_bearer(SECRET.as_bytes()) && !secret.is_bearer(other.bearer().as_bytes())
        );
        assert!(secret.is_bearer(secret.bearer().as_bytes()) && !secret.is_bearer(b""));
    }
}
