//! User names and addresses: what is accepted, and when two are the same.
//!
//! Two spellings are one name when their NFKC case folds are equal (Unicode §3.13, D147): `Ada`,
//! `ADA` and `ａｄａ` are one person, and so is `Ada` with something in it that shows nowhere.

pub mod new;

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizer;

use super::visible::{self, is_ignorable, is_seen};

/// What a name is compared by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameKey(String);

impl NameKey {
    /// For a query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a name or an address begins, as those are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning(String);

impl Beginning {
    /// For a query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is above everything that begins so, and below everything else that is above it. No name and no address has
    /// the character at its end.
    #[must_use]
    pub fn end(&self) -> String {
        format!("{}{}", self.0, char::MAX)
    }
}

/// How a name or an address may begin. `None` where none begins so.
#[must_use]
pub fn beginning(text: &str) -> Option<Beginning> {
    let fits = text.chars().count() <= 254 && visible::is_part_of_visible(text);
    let key = if fits { fold(text) } else { String::new() };
    // What stands in the place of a name that somebody does not have begins with an @.
    (!key.is_empty() && !key.starts_with('@')).then_some(Beginning(key))
}

/// A name: 1–64 characters when it is composed, no `@`, no outer spaces, nothing invisible. `None` when it is not one.
#[must_use]
pub fn username(text: &str) -> Option<NameKey> {
    if text.contains('@') || text.trim() != text || !visible::is_visible(text, 64) {
        return None;
    }
    let key = fold(text);
    // Folding may bring an `@` out of a wide one, which would let a name look like an address.
    let legal = |c: char| c != '@' && is_seen(c);
    (!key.is_empty() && key.chars().all(legal)).then_some(NameKey(key))
}

/// An e-mail address, as far as this service must tell: one `@` with something on each side, at
/// most 254 bytes (RFC 5321 §4.5.3.1.3) when it is composed. Whether it exists, only a message can tell.
#[must_use]
pub fn email(text: &str) -> Option<NameKey> {
    let (local, domain) = text.split_once('@')?;
    let bytes = text.len().min(visible::composed(text).len());
    let fits = bytes <= 254 && visible::is_visible(text, 254);
    let sided = !local.is_empty() && domain.contains('.') && !domain.ends_with('.');
    if !fits || !sided || domain.contains('@') || text.contains(char::is_whitespace) {
        return None;
    }
    Some(NameKey(fold(text)))
}

/// What a login with this text is counted by, whether or not anybody can have such a name.
#[must_use]
pub fn anything(text: &str) -> NameKey {
    account(text).unwrap_or_else(|| NameKey(fold(text)))
}

/// A name, or an address where there is an `@`.
#[must_use]
pub fn account(text: &str) -> Option<NameKey> {
    if text.contains('@') { email(text) } else { username(text) }
}

/// NFKC, case folded, without what is not drawn; folding may denormalise, so all is done twice.
pub(crate) fn fold(text: &str) -> String {
    let nfkc = ComposingNormalizer::new_nfkc();
    let pass = |text: &str| -> String {
        let folded = CaseMapper::new().fold_string(&nfkc.normalize(text)).into_owned();
        folded.chars().filter(|c| !is_ignorable(*c)).collect()
    };
    nfkc.normalize(&pass(&pass(text))).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_have_one_key() {
        let key = username("Ada").unwrap();
        for same in ["ada", "ADA", "ａｄａ", "Ａda", "ada\u{fe0f}", "a\u{34f}da", "ada\u{3164}"]
        {
            assert_eq!(username(same), Some(key.clone()), "{same}");
        }
        assert_eq!(username("Straße"), username("STRASSE"));
        // One composed, one decomposed.
        assert_eq!(username("\u{e9}"), username("e\u{301}"));
        assert_eq!(username("\u{e9}"), username("e\u{34f}\u{301}"));
        assert_ne!(username("аda"), Some(key), "a Cyrillic letter is another letter");
        // What joins or parts letters makes no other name of it.
        assert_eq!(username("علی\u{200c}رضا"), username("علیرضا"));
        assert_eq!(username("ශ්\u{200d}රී"), username("ශ්රී"));
        assert!(username("ශ්\u{200d}රී").is_some());
    }

    #[test]
    fn what_cannot_be_seen_or_told_apart_is_no_name() {
        for text in [
            "",
            " ada",
            "ada ",
            "a@b",
            "a\u{ff20}b",
            "a\u{200b}b",
            "a\u{202e}b",
            "a\nb",
            "a\0b",
            "\u{378}",
            "\u{3164}",
            &"x".repeat(65),
        ] {
            assert_eq!(username(text), None, "{text:?}");
        }
        assert!(username("Ada Lovelace").is_some());
        assert!(username(&"x".repeat(64)).is_some());
        assert!(username(&"e\u{301}".repeat(64)).is_some(), "counted composed");
    }

    #[test]
    fn a_beginning_is_folded_as_names_are_and_ends_below_what_comes_next() {
        let ada = beginning("ＡDa").unwrap();
        assert_eq!(ada.as_str(), "ada");
        let within = |key: &str| key >= ada.as_str() && key < ada.end().as_str();
        for key in ["ada", "ada@example.com", "ada lovelace", "ada\u{ffff}x", "ada\u{10fffd}"] {
            assert!(within(key), "{key}");
        }
        for key in ["ad", "adb", "Ada", "bda", ""] {
            assert!(!within(key), "{key}");
        }
        assert_eq!(beginning("علی\u{200c}"), beginning("علی"), "in the middle of a name");
        for none in ["", "\u{3164}", "@", "@!", "＠x", "a\0", "a\nb", &"x".repeat(255)] {
            assert_eq!(beginning(none), None, "{none:?}");
        }
    }

    #[test]
    fn an_address_has_two_sides() {
        assert_eq!(email("Ada@Example.com"), email("ada@example.COM"));
        let long = |letter: &str| format!("{}@example.com", letter.repeat(121));
        assert!(email(&long("\u{e9}")).is_some(), "254 bytes");
        assert_eq!(email(&long("e\u{301}")), email(&long("\u{e9}")), "counted composed");
        assert_eq!(email(&format!("x{}", long("\u{e9}"))), None);
        for text in ["", "@", "a@", "@b.c", "a@b", "a@b@c.d", "a b@c.d", "a@b.c.", "a@b.c\n"] {
            assert_eq!(email(text), None, "{text:?}");
        }
    }
}
