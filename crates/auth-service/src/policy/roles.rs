//! The roles that an account is given.

use crate::config::{Config, bytes_of_roles};
use crate::identity::roles::is_role;
use crate::policy::administration::Refused;

/// Roles that an account may have: each is one, and with all of them no token is longer than services take.
#[derive(Debug)]
pub(crate) struct Roles(Vec<String>);

impl Roles {
    /// These roles, if an account may have them.
    pub(crate) fn checked(config: &Config, roles: Vec<String>) -> Result<Self, Refused> {
        if let Some(bad) = roles.iter().find(|role| !is_role(role)) {
            return Err(Refused::Role(bad.clone()));
        }
        // Who has none is served, however little room there is.
        if !roles.is_empty() {
            let (bytes, room) = (bytes_of_roles(&roles), config.room_for_roles());
            if bytes > room {
                return Err(Refused::Roles { bytes, room });
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
