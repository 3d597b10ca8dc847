//! `auth-service keys …` over HTTP.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::super::console::{Failure, say};
use super::super::keys::{Keys, Which};
use super::super::lines::{self, KeyLine};
use super::{Remote, needs_the_database};

#[derive(Deserialize)]
struct Key {
    id: String,
    purpose: String,
    algorithm: Option<String>,
    state: String,
    since: String,
    takes_over_after: Option<u32>,
    logs_out_until: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    keys: Vec<Key>,
}

pub(in super::super) async fn run(remote: &Remote, what: Keys) -> Result<(), Failure> {
    match what {
        Keys::List => {
            let page: Page = remote.get("/keys", &[]).await?;
            for key in page.keys {
                say(&lines::key(&KeyLine {
                    id: &key.id,
                    purpose: &key.purpose,
                    algorithm: key.algorithm.as_deref(),
                    state: &key.state,
                    since: key.since,
                    logs_out_until: key.logs_out_until,
                }));
            }
        }
        Keys::Rotate { purpose, now } => {
            let purpose = match purpose {
                Which::Sign => "sign",
                Which::Refresh => "refresh",
            };
            let key: Key = remote.make("/keys", &json!({"purpose": purpose, "now": now})).await?;
            let takes_over = key.takes_over_after.map(|seconds| (seconds, key.since.as_str()));
            say(&lines::rotated(&key.id, takes_over));
        }
        Keys::Revoke { id } => {
            remote.send(Method::DELETE, &format!("/keys/{id}"), None).await?;
            say(&format!("{id} is revoked"));
        }
        Keys::Reseal => return Err(needs_the_database("keys reseal")),
    }
    Ok(())
}
