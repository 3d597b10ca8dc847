//! The member `resource` of a login and a refresh (RFC 8707 §2).

use serde::Deserialize;
use utoipa::ToSchema;

/// One service, or a list of them.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Resource {
    One(String),
    Many(Vec<String>),
}

impl Resource {
    pub(super) fn into_list(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}
