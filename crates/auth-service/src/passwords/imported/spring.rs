//! Spring Security: the id of an encoder in braces, and what that encoder wrote. What an encoder does not write is
//! what it is by default.

use super::super::foreign::{BadForm, unhex};
use super::{decoded, pbkdf2, scrypt, unpadded};

pub(super) fn stored_form(id: &str, hash: &str) -> Result<String, BadForm> {
    // The ids without a version are those of before Spring Security 5.8.
    match id {
        "bcrypt" => Ok(hash.to_owned()),
        "argon2" | "argon2@SpringSecurity_v5_8" => Ok(unpadded(hash)),
        "scrypt" | "scrypt@SpringSecurity_v5_8" => scrypt_form(hash),
        "pbkdf2" => pbkdf2_form(hash, "sha1", 185_000, 8),
        "pbkdf2@SpringSecurity_v5_8" => pbkdf2_form(hash, "sha256", 310_000, 16),
        _ => Err(BadForm::Unknown),
    }
}

/// `$parameters$salt$key`: the parameters are one number in digits of sixteen, two of which are p, two r, and the
/// rest the logarithm of N.
fn scrypt_form(hash: &str) -> Result<String, BadForm> {
    let bad = BadForm::Malformed("scrypt");
    let parts: Vec<&str> = hash.split('$').collect();
    let ["", params, salt, key] = parts[..] else { return Err(bad) };
    let params = u32::from_str_radix(params, 16).map_err(|_| bad)?;
    let n = 1_u32.checked_shl(params >> 16).ok_or(BadForm::TooCostly("scrypt"))?;
    let cost = (n, (params >> 8) & 0xff, params & 0xff);
    scrypt(cost, &decoded(salt, bad)?, &decoded(key, bad)?)
}

/// Salt and key in digits of sixteen.
fn pbkdf2_form(hash: &str, digest: &str, rounds: u32, salt: usize) -> Result<String, BadForm> {
    let bytes = unhex(hash).ok_or(BadForm::Malformed("pbkdf2"))?;
    let split = bytes.split_at_checked(salt).ok_or(BadForm::Malformed("pbkdf2"))?;
    Ok(pbkdf2(digest, rounds, split.0, split.1))
}
