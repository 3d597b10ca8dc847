//! What a new account may be called.
//!
//! An administrator names a user by a name, an address or an id. So nobody may take a name that can be
//! read as an id, or as an id, a name or an address with its kind in front: whoever means one user
//! would hit another. Accounts that have such names already keep them, and log in with them.

use super::{NameKey, email, username};

/// What stands in front of a value to say its kind, in the commands that take a user.
const PREFIXES: [&str; 3] = ["id:", "name:", "email:"];
/// The digits of a UUID.
const ID_DIGITS: usize = 32;

/// What a new account's name is compared by.
///
/// # Errors
/// Why nobody may take this name, in one sentence.
pub fn new_username(text: &str) -> Result<NameKey, &'static str> {
    let key = username(text)
        .ok_or("A username has 1 to 64 visible characters, no @ and no spaces at its ends.")?;
    if is_shaped_like_an_id(key.as_str()) {
        return Err("A username does not look like the id of a user.");
    }
    if has_prefix(&key) {
        return Err("A username does not begin with id:, name: or email:.");
    }
    Ok(key)
}

/// What a new account's address is compared by.
///
/// # Errors
/// Why nobody may take this address, in one sentence.
pub fn new_email(text: &str) -> Result<NameKey, &'static str> {
    let key = email(text).ok_or("The email is not an address.")?;
    if has_prefix(&key) {
        return Err("The email does not begin with id:, name: or email:.");
    }
    Ok(key)
}

/// A text as it was written, and what it is compared by.
pub type Named = (String, NameKey);

/// What a new account is called: by a name, an address, or both.
///
/// # Errors
/// Why nobody may be called so, in one sentence.
pub fn new_names(
    username: Option<String>,
    email: Option<String>,
) -> Result<(Option<Named>, Option<Named>), &'static str> {
    if username.is_none() && email.is_none() {
        return Err("An account needs a username, an email, or both.");
    }
    let named = |text: Option<String>, key: fn(&str) -> Result<NameKey, &'static str>| {
        text.map(|text| key(&text).map(|key| (text, key))).transpose()
    };
    Ok((named(username, new_username)?, named(email, new_email)?))
}

/// Whether this is the digits of a UUID, whatever stands between and around them: more than is read as
/// one today.
#[must_use]
pub fn is_shaped_like_an_id(text: &str) -> bool {
    let lower = text.to_lowercase();
    let bare = lower.strip_prefix("urn:uuid:").unwrap_or(&lower);
    let digits: Vec<char> = bare.chars().filter(|c| c.is_alphanumeric()).collect();
    digits.len() == ID_DIGITS && digits.iter().all(char::is_ascii_hexdigit)
}

fn has_prefix(key: &NameKey) -> bool {
    PREFIXES.iter().any(|prefix| key.as_str().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ID: &str = "0197a3f2-5b1c-7d2e-8f90-a1b2c3d4e5f6";

    /// All that the parser of ids takes, and more.
    #[test]
    fn nobody_is_called_like_an_id() {
        let id: Uuid = ID.parse().unwrap();
        let read = [
            id.hyphenated().to_string(),
            id.simple().to_string(),
            id.braced().to_string(),
            id.urn().to_string(),
            ID.to_uppercase(),
            id.simple().to_string().to_uppercase(),
        ];
        for text in &read {
            assert_eq!(text.parse(), Ok(id), "{text}");
        }
        let wide = |c: char| match c {
            '0'..='9' | 'a'..='f' => char::from_u32(c as u32 + 0xfee0).unwrap(),
            c => c,
        };
        let others = [
            ID.chars().map(wide).collect(),
            ID.replace('-', "_"),
            ID.replace('-', " "),
            format!("({ID})"),
            format!("URN:UUID:{}", ID.to_uppercase()),
            ID.replacen('0', "0\u{fe0f}", 1),
        ];
        for text in read.iter().chain(&others) {
            assert!(username(text).is_some(), "whoever is called so already logs in: {text}");
            assert!(new_username(text).is_err(), "{text}");
        }
        for good in ["ada", "0197a3f2", &ID[1..], "Ada-Lovelace-of-the-analytical-engine"] {
            assert!(new_username(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn nobody_is_called_like_a_value_with_its_kind_in_front() {
        for text in ["id:ada", "ID:1", "name:ada", "Name:", "email:ada", "ｉｄ：ada", "id\u{ff1a}x"]
        {
            assert!(username(text).is_some() && new_username(text).is_err(), "{text}");
        }
        for text in ["id:ada@b.c", "Name:ada@b.c", "email:ada@b.c", "email\u{ff1a}ada@b.c"] {
            assert!(email(text).is_some() && new_email(text).is_err(), "{text}");
        }
        assert!(new_username("ida: the first").is_ok());
        assert!(new_email("email@b.c").is_ok());
    }
}
