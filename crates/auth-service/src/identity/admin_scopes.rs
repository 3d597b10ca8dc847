//! The scopes of administrators (RFC 6749 §3.3). Their names are reserved: nobody has one for the asking, and
//! they are good at this service only.

/// How every reserved scope begins.
const RESERVED: &str = "latchkey:";

/// To look at accounts.
pub const USERS_READ: &str = "latchkey:users:read";
/// To make, change and delete accounts.
pub const USERS_WRITE: &str = "latchkey:users:write";
/// To end sessions of others.
pub const SESSIONS_END: &str = "latchkey:sessions:end";
/// To rotate and revoke keys.
pub const KEYS: &str = "latchkey:keys";
/// To read the audit log.
pub const AUDIT_READ: &str = "latchkey:audit:read";

/// All of them.
pub const ALL: [&str; 5] = [USERS_READ, USERS_WRITE, SESSIONS_END, KEYS, AUDIT_READ];

/// Whether a scope is granted only where the settings bind it to roles.
#[must_use]
pub fn is_reserved(scope: &str) -> bool {
    scope.starts_with(RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_of_administrators_is_reserved_and_no_other_is() {
        assert!(ALL.into_iter().all(is_reserved));
        for free in ["profile", "latchkey", "latchkeys:keys", "my:latchkey:keys", "Latchkey:keys"] {
            assert!(!is_reserved(free), "{free}");
        }
    }
}
