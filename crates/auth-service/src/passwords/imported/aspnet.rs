//! ASP.NET Core Identity: bytes in base64, the first of which is the version of the form.

use super::super::foreign::BadForm;
use super::{BASE64, pbkdf2};
use base64::Engine as _;

/// The second form of ASP.NET Identity, which is older: a salt and a key after one byte.
const SECOND: (u8, usize, u32) = (0, 1 + 16 + 32, 1000);
/// The third: three numbers of four bytes before the salt.
const THIRD: u8 = 1;

pub(super) fn stored_form(text: &str) -> Result<String, BadForm> {
    let bytes = BASE64.decode(text).map_err(|_| BadForm::Unknown)?;
    let (second, length, rounds) = SECOND;
    if bytes.len() == length && bytes[0] == second {
        return Ok(pbkdf2("sha1", rounds, &bytes[1..17], &bytes[17..]));
    }
    if bytes.first() != Some(&THIRD) {
        return Err(BadForm::Unknown);
    }
    third(&bytes[1..]).ok_or(BadForm::Malformed("ASP.NET Identity"))
}

/// Which hash, how many rounds, the length of the salt; then salt and key.
fn third(bytes: &[u8]) -> Option<String> {
    let (digest, bytes) = number(bytes)?;
    let (rounds, bytes) = number(bytes)?;
    let (length, bytes) = number(bytes)?;
    let digest = match digest {
        0 => "sha1",
        1 => "sha256",
        2 => "sha512",
        _ => return None,
    };
    let (salt, key) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    Some(pbkdf2(digest, rounds, salt, key))
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}
