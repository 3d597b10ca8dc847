//! Which new passwords are accepted (NIST SP 800-63B-4 §3.1.1.2): long ones that nobody tries first.
//! No rules of composition; nothing is cut off.

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::{common_passwords, normalized};
use crate::config;
use crate::identity::names;

/// What a new password lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Fewer characters than the minimum.
    TooShort,
    /// More than the maximum.
    TooLong,
    /// One that everybody tries first.
    Common,
    /// It is, or contains, the user's own name or address.
    ContainsName,
    /// The same as before.
    Unchanged,
}

impl Violation {
    /// The name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::Common => "common",
            Self::ContainsName => "contains_name",
            Self::Unchanged => "unchanged",
        }
    }
}

/// What `password` lacks as a new password of the user with these names.
#[must_use]
pub fn violations(
    policy: &config::Passwords,
    password: &SecretString,
    names: &[&str],
) -> Vec<Violation> {
    let password = normalized(password.expose_secret());
    let length = password.chars().count();
    let mut violations = Vec::new();
    if length < policy.min_length {
        violations.push(Violation::TooShort);
    }
    if length > policy.max_length {
        violations.push(Violation::TooLong);
    }
    let folded = Zeroizing::new(names::fold(&password));
    if is_common(&folded) {
        violations.push(Violation::Common);
    }
    // Very short names occur in innocent passwords.
    let mut folded_names = names.iter().map(|name| names::fold(name));
    if folded_names.any(|name| name.chars().count() >= 4 && folded.contains(&name)) {
        violations.push(Violation::ContainsName);
    }
    violations
}

/// Whether a (folded) password is one of those everybody tries first: one short piece repeated, a
/// run of neighbours, or a usual one, padded or repeated.
fn is_common(password: &str) -> bool {
    let characters: Vec<char> = password.chars().collect();
    let repeats = (1..=4.min(characters.len() / 2))
        .any(|n| characters.iter().zip(&characters[n..]).all(|(a, b)| a == b));
    let runs = characters.windows(2).filter(|pair| {
        let (a, b) = (u32::from(pair[0]), u32::from(pair[1]));
        a.abs_diff(b) == 1 || are_neighbours(pair[0], pair[1])
    });
    let mostly_runs = characters.len() >= 2 && runs.count() * 10 >= (characters.len() - 1) * 8;
    repeats || mostly_runs || common_passwords::is_variation(password)
}

fn are_neighbours(a: char, b: char) -> bool {
    ["1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "azertyuiop"].iter().any(
        |row| match (row.find(a), row.find(b)) {
            (Some(a), Some(b)) => a.abs_diff(b) == 1,
            _ => false,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_password_lacks_is_told() {
        let policy = config::Passwords {
            min_length: 15,
            max_length: 256,
            memory_kib: 64,
            iterations: 1,
            max_wait_seconds: 3,
            peppers: SecretString::default(),
        };
        let lacks = |text: &str| violations(&policy, &SecretString::from(text), &["marjorie"]);
        assert_eq!(lacks("correct horse battery"), []);
        assert_eq!(lacks("fourteen chars"), [Violation::TooShort]);
        assert_eq!(lacks("ぱすわーどはながいほうがいいです"), []);
        assert_eq!(lacks(&"long and varied ".repeat(17)), [Violation::TooLong]);
        assert_eq!(lacks("here is Marjorie again"), [Violation::ContainsName]);
        for common in [
            "password password 123",
            "aaaaaaaaaaaaaaaa",
            "abababababababab",
            "123456789012345",
            "qwertyuiopasdfgh",
            "Passw0rd!!!!!!!",
            "abcdefghijklmnop",
        ] {
            assert_eq!(lacks(common), [Violation::Common], "{common}");
        }
    }
}
