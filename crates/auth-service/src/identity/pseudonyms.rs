//! Names for people and networks outside the database: the same for the same, and nothing can be
//! read out of them without the master key.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::identity::names::{self, NameKey};

/// What stands for somebody, or for something that is nobody else's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pseudonym([u8; 16]);

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// Makes pseudonyms. Every replica with the same master key makes the same ones.
#[derive(Debug)]
pub struct Pseudonyms(hmac::Key);

impl Pseudonyms {
    /// Under a key that is derived from the master key and good for nothing else.
    #[must_use]
    pub fn new(master_key: &[u8; 32]) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, master_key);
        let derived = hmac::sign(&master, b"latchkey/1/pseudonyms");
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// Of a name or an address, whether or not an account has it.
    #[must_use]
    pub fn name(&self, name: &NameKey) -> Pseudonym {
        self.of("name", &[name.as_str().as_bytes()])
    }

    /// Of whatever was given as a name at a login.
    #[must_use]
    pub fn given(&self, username: &str) -> Pseudonym {
        self.name(&names::anything(username))
    }

    /// Of the network that an address is in, see [`network`].
    #[must_use]
    pub fn network(&self, address: IpAddr) -> Pseudonym {
        self.of("network", &[&network(address)])
    }

    /// What is written in the place of a network address that was kept as it was: [`MARK`] and the pseudonym of its
    /// network. What was written so stays as it is.
    #[must_use]
    pub fn written_for_address(&self, text: &str) -> String {
        match text.parse() {
            Ok(address) => format!("{MARK}{}", self.network(address)),
            Err(_) => self.written_for("address", text),
        }
    }

    /// The same for another text, of this kind.
    #[must_use]
    pub fn written_for(&self, kind: &str, text: &str) -> String {
        if is_written(text) {
            return text.to_owned();
        }
        format!("{MARK}{}", self.of(kind, &[text.as_bytes()]))
    }

    /// Of anything made of parts; `kind` keeps things of different kinds apart.
    #[must_use]
    pub fn of(&self, kind: &str, parts: &[&[u8]]) -> Pseudonym {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [kind.as_bytes()].iter().chain(parts) {
            // With its length before it: else one part could pass for two.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&context.sign().as_ref()[..16]);
        Pseudonym(bytes)
    }
}

/// What stands before a pseudonym where a name, an address or a user agent was.
pub const MARK: char = '~';

/// Whether this is a pseudonym that stands in the place of something.
fn is_written(text: &str) -> bool {
    let digits = text.strip_prefix(MARK).unwrap_or_default();
    URL_SAFE_NO_PAD.decode(digits).is_ok_and(|bytes| bytes.len() == 16)
}

/// What one subscriber holds: an IPv4 address, or an IPv6 /64, of which every host has as many
/// addresses as it likes.
#[must_use]
pub fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::names;

    #[test]
    fn the_same_has_the_same_pseudonym_and_nothing_else_has() {
        let (ours, others) = (Pseudonyms::new(&[1; 32]), Pseudonyms::new(&[2; 32]));
        let name = |text| names::username(text).unwrap();
        assert_eq!(ours.name(&name("Ada")), ours.name(&name("ada")));
        assert_ne!(ours.name(&name("ada")), ours.name(&name("bob")));
        assert_ne!(ours.name(&name("ada")), others.name(&name("ada")));
        assert_ne!(ours.of("a", &[b"bc"]), ours.of("a", &[b"b", b"c"]));
        assert_ne!(ours.of("a", &[b"b"]), ours.of("b", &[b"b"]));
        assert_eq!(ours.name(&name("ada")).to_string().len(), 22);
    }

    #[test]
    fn what_was_replaced_once_stays_so() {
        let ours = Pseudonyms::new(&[1; 32]);
        let address = ours.written_for_address("192.0.2.1");
        let network = ours.network("192.0.2.1".parse().unwrap());
        assert_eq!(address, format!("~{network}"));
        assert_eq!(ours.written_for_address(&address), address);
        let agent = ours.written_for("user-agent", "Mozilla/5.0");
        assert_eq!(ours.written_for("user-agent", &agent), agent);
        for text in ["", "~", "~Mozilla/5.0", "no address", "~AAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            let written = ours.written_for("user-agent", text);
            assert!(written != text && is_written(&written), "{text}");
        }
    }

    #[test]
    fn a_network_is_what_one_subscriber_holds() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::9"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
