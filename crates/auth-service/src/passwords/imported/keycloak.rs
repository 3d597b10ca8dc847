//! Keycloak: a credential as a realm export has it, in JSON with two members that are JSON again.

use std::collections::BTreeMap;

use super::super::foreign::BadForm;
use super::{decoded, encoded, pbkdf2};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const BAD: BadForm = BadForm::Malformed("Keycloak");

/// A credential. A row of its table has the same with other names.
#[derive(Deserialize)]
struct Credential {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "secretData", alias = "secret_data")]
    secret: Value,
    #[serde(rename = "credentialData", alias = "credential_data")]
    data: Value,
}

#[derive(Deserialize)]
struct Secret {
    value: String,
    salt: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    algorithm: String,
    hash_iterations: u32,
    additional_parameters: Option<BTreeMap<String, Vec<String>>>,
}

pub(super) fn stored_form(text: &str) -> Result<String, BadForm> {
    let credential: Credential = serde_json::from_str(text).map_err(|_| BAD)?;
    if credential.kind.is_some_and(|kind| kind != "password") {
        return Err(BAD);
    }
    let (secret, data): (Secret, Data) = (inner(credential.secret)?, inner(credential.data)?);
    let (salt, hash) = (decoded(&secret.salt, BAD)?, decoded(&secret.value, BAD)?);
    match data.algorithm.as_str() {
        "argon2" => argon2(&data, &salt, &hash),
        "pbkdf2" => Ok(pbkdf2("sha1", data.hash_iterations, &salt, &hash)),
        "pbkdf2-sha256" => Ok(pbkdf2("sha256", data.hash_iterations, &salt, &hash)),
        "pbkdf2-sha512" => Ok(pbkdf2("sha512", data.hash_iterations, &salt, &hash)),
        _ => Err(BadForm::Unknown),
    }
}

/// JSON in a text, or what was in it.
fn inner<T: DeserializeOwned>(member: Value) -> Result<T, BadForm> {
    match member {
        Value::String(text) => serde_json::from_str(&text),
        member => serde_json::from_value(member),
    }
    .map_err(|_| BAD)
}

fn argon2(data: &Data, salt: &[u8], hash: &[u8]) -> Result<String, BadForm> {
    let parameter = |name: &str| {
        let values = data.additional_parameters.as_ref()?.get(name)?;
        values.first().map(String::as_str)
    };
    let kind = match parameter("type") {
        Some("id") => "argon2id",
        Some("i") => "argon2i",
        _ => return Err(BAD),
    };
    if !matches!(parameter("version"), None | Some("1.3")) {
        return Err(BAD);
    }
    let number = |name| parameter(name)?.parse::<u32>().ok();
    let (Some(memory), Some(lanes)) = (number("memory"), number("parallelism")) else {
        return Err(BAD);
    };
    let (passes, salt, hash) = (data.hash_iterations, encoded(salt), encoded(hash));
    Ok(format!("${kind}$v=19$m={memory},t={passes},p={lanes}${salt}${hash}"))
}
