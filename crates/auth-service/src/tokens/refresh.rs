//! The refresh token: a handle under a MAC.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::refresh_token::PREFIX;
use claims::{ClientId, RefreshTokenShape, SessionId, Transport};
use secrecy::SecretString;

use crate::identity::random;

/// A refresh token of ours: its tag was checked, or it was made here.
///
/// It has no `Debug`, `Display` or serde form, and no way into a query: the database knows
/// [`SessionId`]s only, which are derived one-way from the handle.
pub struct RefreshToken {
    handle: [u8; 16],
    generation: u32,
}

impl RefreshToken {
    /// The first token of a new session.
    #[must_use]
    pub fn first() -> Self {
        Self { handle: random::bytes(), generation: 1 }
    }

    /// The session it belongs to: the first 128 bits of SHA-256 over the handle.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        let hash = digest::digest(&digest::SHA256, &self.handle);
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_ref()[..16]);
        SessionId::from_bytes(id)
    }

    /// Which rotation it is of.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The token of the same session at another generation.
    #[must_use]
    pub fn at(&self, generation: u32) -> Self {
        Self { handle: self.handle, generation }
    }
}

/// Makes and checks refresh tokens. Never with a signing key: whoever learns one of the two has not learned the other.
pub struct RefreshKeys {
    /// Makes tokens, and checks them first.
    current: hmac::Key,
    others: Vec<hmac::Key>,
    /// Tell which session a token is of, for logging out only.
    revoked: Vec<hmac::Key>,
}

impl RefreshKeys {
    /// `current` makes; `others` still, or already, check.
    #[must_use]
    pub fn new(current: &[u8], others: &[impl AsRef<[u8]>]) -> Self {
        let others = others.iter().map(|bytes| hmac_key(bytes.as_ref())).collect();
        Self { current: hmac_key(current), others, revoked: Vec::new() }
    }

    /// With keys that were revoked.
    #[must_use]
    pub fn with_revoked(self, revoked: &[impl AsRef<[u8]>]) -> Self {
        Self { revoked: revoked.iter().map(|bytes| hmac_key(bytes.as_ref())).collect(), ..self }
    }

    /// The token as the client gets it.
    #[must_use]
    pub fn write(&self, token: &RefreshToken, client: &ClientId, by: Transport) -> SecretString {
        let message = tagged(token.handle, token.generation, client, by);
        let tag = hmac::sign(&self.current, &message);
        let (handle, generation) = (URL_SAFE_NO_PAD.encode(token.handle), token.generation);
        let tag = URL_SAFE_NO_PAD.encode(tag.as_ref());
        SecretString::from(format!("{PREFIX}.{handle}.{generation}.{tag}"))
    }

    /// Reads what a client presents. `None` for everything this service did not make for this
    /// client and transport, before any query; tags are compared in constant time.
    #[must_use]
    pub fn read(&self, text: &str, client: &ClientId, by: Transport) -> Option<RefreshToken> {
        read_with(std::iter::once(&self.current).chain(&self.others), text, client, by)
    }

    /// The same for a token whose key was revoked. Whoever has it may end its session with it, and
    /// nothing else.
    #[must_use]
    pub fn read_revoked(
        &self,
        text: &str,
        client: &ClientId,
        by: Transport,
    ) -> Option<RefreshToken> {
        read_with(self.revoked.iter(), text, client, by)
    }
}

fn hmac_key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

fn read_with<'a>(
    mut keys: impl Iterator<Item = &'a hmac::Key>,
    text: &str,
    client: &ClientId,
    by: Transport,
) -> Option<RefreshToken> {
    let shape = RefreshTokenShape::parse(text)?;
    let message = tagged(shape.handle, shape.generation, client, by);
    keys.any(|key| hmac::verify(key, &message, &shape.tag).is_ok())
        .then_some(RefreshToken { handle: shape.handle, generation: shape.generation })
}

/// What the tag covers, each field with its length before it.
fn tagged(handle: [u8; 16], generation: u32, client: &ClientId, by: Transport) -> Vec<u8> {
    let generation = generation.to_be_bytes();
    let fields: [&[u8]; 5] = [
        PREFIX.as_bytes(),
        &handle,
        &generation,
        client.as_str().as_bytes(),
        by.as_str().as_bytes(),
    ];
    let mut message = Vec::with_capacity(96);
    for field in fields {
        message.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        message.extend_from_slice(field);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn client(name: &str) -> ClientId {
        name.parse().unwrap()
    }

    #[test]
    fn a_token_is_read_only_for_the_client_and_the_transport_it_was_made_for() {
        let keys = RefreshKeys::new(&[1; 32], &[[2; 32]]);
        let token = RefreshToken::first().at(7);
        let text = keys.write(&token, &client("web"), Transport::Body);
        let text = text.expose_secret();
        assert!(text.len() < 90, "{}", text.len());
        let read = keys.read(text, &client("web"), Transport::Body).unwrap();
        assert_eq!((read.session_id(), read.generation()), (token.session_id(), 7));
        assert!(keys.read(text, &client("web"), Transport::Cookie).is_none());
        assert!(keys.read(text, &client("app"), Transport::Body).is_none());
        assert!(
            RefreshKeys::new(&[3; 32], &[[2; 32]])
                .read(text, &client("web"), Transport::Body)
                .is_none()
        );
        assert!(
            RefreshKeys::new(&[3; 32], &[[1; 32]])
                .read(text, &client("web"), Transport::Body)
                .is_some()
        );
    }

    #[test]
    fn a_token_of_a_revoked_key_names_its_session_and_is_no_good_token() {
        let (web, by) = (client("web"), Transport::Body);
        let token = RefreshToken::first();
        let text = RefreshKeys::new(&[2; 32], &[] as &[[u8; 32]]).write(&token, &web, by);
        let text = text.expose_secret();
        let keys = RefreshKeys::new(&[1; 32], &[] as &[[u8; 32]]).with_revoked(&[[2; 32]]);
        assert!(keys.read(text, &web, by).is_none());
        let read = keys.read_revoked(text, &web, by).unwrap();
        assert_eq!(read.session_id(), token.session_id());
        assert!(keys.read_revoked(text, &web, Transport::Cookie).is_none());
        let good = keys.write(&token, &web, by);
        assert!(keys.read_revoked(good.expose_secret(), &web, by).is_none());
    }

    #[test]
    fn the_successor_is_a_function_of_the_token() {
        let keys = RefreshKeys::new(&[1; 32], &[] as &[[u8; 32]]);
        let token = RefreshToken::first();
        let write = |g| keys.write(&token.at(g), &client("web"), Transport::Body);
        assert_eq!(write(2).expose_secret(), write(2).expose_secret());
        assert_ne!(write(2).expose_secret(), write(3).expose_secret());
        assert_eq!(token.at(2).session_id(), token.session_id());
    }

    #[test]
    fn every_bit_of_a_token_counts() {
        let keys = RefreshKeys::new(&[1; 32], &[] as &[[u8; 32]]);
        let text = keys.write(&RefreshToken::first(), &client("web"), Transport::Body);
        let text = text.expose_secret();
        for at in 0..text.len() {
            let mut other = text.as_bytes().to_vec();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            assert!(other == *text || keys.read(&other, &client("web"), Transport::Body).is_none());
        }
    }
}
