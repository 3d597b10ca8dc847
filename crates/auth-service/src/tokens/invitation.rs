//! The invitation: a random secret with which one person may register.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use crate::identity::random;
use crate::store::InvitationDigest;

/// How every invitation begins, so that secret scanners can find those that leaked.
const PREFIX: &str = "inv1.";
/// 24 bytes in base64url, of which every bit counts.
const SECRET_CHARS: usize = 32;

/// An invitation as its bearer has it. It has no `Debug`, `Display` or serde form, and no way into a query:
/// the database knows its digest only.
pub struct InvitationToken {
    secret: [u8; 24],
}

impl InvitationToken {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self { secret: random::bytes() }
    }

    /// Reads what somebody presents; `None` for everything that cannot be one, before any query.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let secret = text.strip_prefix(PREFIX).filter(|secret| secret.len() == SECRET_CHARS)?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
        Some(Self { secret })
    }

    /// The token as its bearer gets it.
    #[must_use]
    pub fn write(&self) -> SecretString {
        SecretString::from(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.secret)))
    }

    /// What the database knows of it.
    #[must_use]
    pub fn digest(&self) -> InvitationDigest {
        let hash = digest::digest(&digest::SHA256, &self.secret);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        InvitationDigest(bytes)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let token = InvitationToken::random();
        let text = token.write();
        let text = text.expose_secret();
        assert_eq!(text.len(), 37);
        assert_eq!(InvitationToken::parse(text).unwrap().digest(), token.digest());
        assert_ne!(InvitationToken::random().digest(), token.digest());
        for other in [
            String::new(),
            "inv1.".to_owned(),
            text[5..].to_owned(),
            text[..36].to_owned(),
            format!("{text}A"),
            format!("{text}="),
            format!(" {text}"),
            text.to_uppercase().replacen("INV1", "inv2", 1),
            format!("inv1.{}", "A".repeat(10_000)),
            format!("inv1.{}", "é".repeat(16)),
            format!("inv1.{}", "+".repeat(32)),
            format!("inv1.{}\0", &text[5..36]),
        ] {
            assert!(InvitationToken::parse(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn every_character_of_it_counts() {
        let text = InvitationToken::random().write();
        let text = text.expose_secret();
        let digest = InvitationToken::parse(text).unwrap().digest();
        for at in 0..text.len() {
            let mut other = text.as_bytes().to_vec();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = InvitationToken::parse(str::from_utf8(&other).unwrap());
            assert!(other.is_none_or(|other| other.digest() != digest), "{at}");
        }
    }
}
