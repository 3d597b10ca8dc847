//! How long an access token can become. What makes one longer than verifiers take is refused where it is set: the
//! scopes and services of the settings at the start, roles when they are given.
//!
//! Names are counted at their longest, so that nobody makes their own tokens useless by another name, and no change of
//! a name has to look at roles that change at the same moment.

use claims::access_token::MAX_BYTES;
use claims::{AccessTokenClaims, Audience, SessionId, TokenId, UserId};
use hosting::settings::ConfigError;
use uuid::Uuid;

use super::Config;
use crate::identity::admin_scopes::is_reserved;
use crate::identity::amr::Method;

/// A header in base64 that names a key by 64 characters, as many as a key id may have.
const HEADER_BYTES: usize = 139;
/// A signature in base64 by an RSA key of 3072 bits, which is the longest that is made here.
const SIGNATURE_BYTES: usize = 512;
/// What is left for the claims, which base64 makes a third longer.
const MAX_CLAIMS_BYTES: usize = (MAX_BYTES - HEADER_BYTES - SIGNATURE_BYTES - 2) * 3 / 4;
/// `,"roles":[` and `]`, less the comma that the last of them does not have.
const AROUND_ROLES: usize = 10;
/// An instant as long as any for the next two hundred years.
const LATE: u64 = 9_999_999_999;

/// What these roles take in a token: each has quotes around it and a comma behind it.
pub(crate) fn bytes_of_roles(roles: &[String]) -> usize {
    roles.iter().map(|role| role.len() + 3).sum()
}

impl Config {
    /// How much of a token is left for the roles of an account, as [`bytes_of_roles`] counts them, where it is for all
    /// services and has every scope, and its user the longest names that anybody can have.
    pub(crate) fn room_for_roles(&self) -> usize {
        MAX_CLAIMS_BYTES.saturating_sub(self.longest_claims() + AROUND_ROLES)
    }

    pub(super) fn check_token_size(&self) -> Result<(), ConfigError> {
        let longest = self.longest_claims();
        if longest <= MAX_CLAIMS_BYTES {
            return Ok(());
        }
        let services: usize = self.tokens.audience.iter().map(|service| service.len() + 3).sum();
        let of_scopes = services < self.scope_bytes();
        let key = if of_scopes { "tokens.scopes" } else { "tokens.audience" };
        let bytes = HEADER_BYTES + SIGNATURE_BYTES + 2 + (longest * 4).div_ceil(3);
        let problem = format!(
            "together with the others of tokens.scopes, tokens.audience, scopes and issuer, makes access tokens of up \
             to {bytes} bytes, and no service takes more than {MAX_BYTES}; name fewer or shorter ones"
        );
        Err(ConfigError::Value { key, problem })
    }

    /// The claims of the longest token, without roles, in JSON.
    fn longest_claims(&self) -> usize {
        let mut services = self.tokens.audience.clone();
        services.push(self.issuer.clone());
        let has = |scope: &str| self.tokens.scopes.contains(scope);
        // The longest of either in JSON. They are as long as they are when they are composed, and kept as they were
        // typed: a syllable of Hangul, of three bytes, may have been typed as three letters of three bytes each.
        let username = "\u{1100}\u{1161}\u{11a8}".repeat(64);
        let email = "\u{1100}".repeat(254);
        let methods = [Method::Password, Method::OneTimePassword, Method::MultipleFactors];
        let claims = AccessTokenClaims {
            iss: self.issuer.clone(),
            sub: UserId(Uuid::max()).into(),
            aud: Audience::Many(services),
            client_id: self.tokens.client_id.clone(),
            iat: LATE,
            exp: LATE,
            nbf: None,
            jti: TokenId::from_bytes([0; 16]),
            sid: Some(SessionId::from_bytes([0; 16])),
            scope: None,
            auth_time: Some(LATE),
            amr: methods.map(|method| method.as_str().to_owned()).to_vec(),
            sub_ver: Some(u32::MAX),
            preferred_username: has("profile").then_some(username),
            email_verified: has("email").then_some(false),
            email: has("email").then_some(email),
            roles: Vec::new(),
            cnf: None,
        };
        let json = serde_json::to_vec(&claims).expect("claims are plain data");
        json.len() + ",\"scope\":\"\"".len() + self.scope_bytes()
    }

    /// All scopes that anybody can have, with spaces between: those that may be asked for, and those of administrators
    /// that are bound to roles. (They may be more than one login can name.)
    fn scope_bytes(&self) -> usize {
        let reserved = self.scopes.keys().filter(|scope| is_reserved(scope));
        self.tokens.scopes.as_str().len() + reserved.map(|scope| scope.len() + 1).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let basis = [("AUTH__DATABASE__URL", "sqlite:x.db"), ("AUTH__KEYS__MASTER_KEY", KEY)];
        let all = basis.iter().chain(variables);
        Config::load(None, all.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    fn numbered(many: usize, length: usize, separator: &str) -> String {
        let one = |number| format!("s{number:0>digits$}", digits = length - 1);
        (0..many).map(one).collect::<Vec<_>>().join(separator)
    }

    #[test]
    fn scopes_that_fill_a_token_are_refused_at_the_start() {
        let with = |many| {
            let (scopes, default) = (numbered(many, 100, " "), numbered(1, 100, " "));
            load(&[("AUTH__TOKENS__SCOPES", &scopes), ("AUTH__TOKENS__DEFAULT_SCOPES", &default)])
        };
        let error = with(64).unwrap_err().to_string();
        assert!(error.contains("tokens.scopes") && error.contains("8192"), "{error}");
        assert!(with(30).is_ok());
    }

    #[test]
    fn services_that_fill_a_token_are_refused_at_the_start() {
        let services = |many| numbered(many, 60, ",");
        let error = load(&[("AUTH__TOKENS__AUDIENCE", &services(100))]).unwrap_err().to_string();
        assert!(error.contains("tokens.audience") && error.contains("8192"), "{error}");
        assert!(load(&[("AUTH__TOKENS__AUDIENCE", &services(50))]).is_ok());
    }

    #[test]
    fn scopes_and_services_leave_less_for_roles() {
        let usual = load(&[]).unwrap().room_for_roles();
        let services = numbered(20, 60, ",");
        let more = load(&[("AUTH__TOKENS__AUDIENCE", &services)]).unwrap().room_for_roles();
        assert!(usual > 3000 && more < usual - 1000, "{usual} {more}");
        // Three bytes for each besides its letters.
        assert_eq!(bytes_of_roles(&["ab".to_owned(), "c".to_owned()]), 9);
    }
}
