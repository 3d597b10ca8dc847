//! The roles that an account is given.

use crate::config::{Config, bytes_of_roles};
use crate::error::Error;
use crate::identity::roles::is_role;

/// Why an account may not have them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadRoles {
    #[error(
        "{0:?} is no role: 1 to 64 visible ASCII characters, without quotes, commas and spaces"
    )]
    Form(String),
    #[error(
        "the roles take {bytes} bytes of an access token, three more than its letters for each, and {room} are left \
         for them; no service would take a longer token, so give fewer or shorter ones"
    )]
    TooLong { bytes: usize, room: usize },
}

impl From<BadRoles> for Error {
    fn from(bad: BadRoles) -> Self {
        Self::InvalidRequest(match bad {
            BadRoles::Form(_) => {
                "A role is 1 to 64 visible ASCII characters, without quotes, commas and spaces."
                    .to_owned()
            }
            BadRoles::TooLong { bytes, room } => format!(
                "The roles take {bytes} bytes of an access token, three more than its letters for each, and {room} are \
                 left for them; no service would take a longer token."
            ),
        })
    }
}

/// Roles that an account may have: each is one, and with all of them no token is longer than services take.
#[derive(Debug)]
pub(crate) struct Roles(Vec<String>);

impl Roles {
    /// These roles, if an account may have them.
    pub(crate) fn checked(config: &Config, roles: Vec<String>) -> Result<Self, BadRoles> {
        if let Some(bad) = roles.iter().find(|role| !is_role(role)) {
            return Err(BadRoles::Form(bad.clone()));
        }
        // Who has none is served, however little room there is.
        if !roles.is_empty() {
            let (bytes, room) = (bytes_of_roles(&roles), config.room_for_roles());
            if bytes > room {
                return Err(BadRoles::TooLong { bytes, room });
            }
        }
        Ok(Self(roles))
    }
}

impl From<Roles> for Vec<String> {
    fn from(roles: Roles) -> Self {
        roles.0
    }
}
