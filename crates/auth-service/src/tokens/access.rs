//! The access token: a signed JWT.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claims::{AccessTokenClaims, Audience, Scope, TokenId, access_token};

use super::clients::ClientPolicy;
use super::signing_key::SigningKey;
use crate::identity::random;
use crate::store::Grant;

/// Makes access tokens.
#[derive(Debug)]
pub struct AccessTokens {
    key: SigningKey,
    /// The encoded header, the same for every token of a key.
    header: String,
    issuer: String,
}

/// An access token and how long it lasts.
pub struct AccessToken {
    pub text: String,
    pub expires_in: u64,
    /// What it allows; `None` where that is nothing.
    pub scope: Option<Scope>,
}

impl AccessTokens {
    /// Makes tokens with `key`.
    #[must_use]
    pub fn new(key: SigningKey, issuer: &str) -> Self {
        let (alg, kid) = (key.jwk().alg.as_str(), &key.jwk().kid);
        let header = format!(r#"{{"alg":"{alg}","typ":"{}","kid":"{kid}"}}"#, access_token::TYP);
        let header = URL_SAFE_NO_PAD.encode(header);
        Self { key, header, issuer: issuer.to_owned() }
    }

    /// A token for `grant` and the services of `audience`, from the moment the database granted it, whose
    /// client may have what `client` says. It allows what was granted at the login and may be granted now,
    /// to whom and to which services that may be. It ends up to 5 %
    /// early, so that clients that started together do not all come back together, and never after
    /// the session, which ends at its idle end where it is not used.
    #[must_use]
    pub fn mint(&self, grant: &Grant, client: &ClientPolicy, audience: Vec<String>) -> AccessToken {
        let scope = client.scope_now(&grant.scope, &grant.user.roles, &audience);
        let iat = grant.now.unix_seconds();
        let lifetime = client.access_seconds - random::up_to(client.access_seconds / 20);
        let exp = (iat + lifetime).min(grant.idle_expires_at.unix_seconds()).max(iat);
        let has = |value: &str| scope.as_ref().is_some_and(|scope| scope.contains(value));
        let email = grant.user.email.clone().filter(|_| has("email"));
        let claims = AccessTokenClaims {
            iss: self.issuer.clone(),
            sub: grant.user.id.into(),
            aud: claim(audience),
            client_id: grant.client_id.clone(),
            iat,
            exp,
            nbf: None,
            jti: TokenId::from_bytes(random::bytes()),
            sid: Some(grant.session_id),
            scope: scope.clone(),
            auth_time: Some(grant.auth_time.unix_seconds()),
            amr: grant.amr.split(' ').map(str::to_owned).collect(),
            sub_ver: Some(grant.subject_version),
            preferred_username: grant.user.username.clone().filter(|_| has("profile")),
            email_verified: email.is_some().then_some(false),
            email,
            roles: grant.user.roles.clone(),
            cnf: None,
        };
        let text = self.sign(&claims);
        if text.len() > access_token::MAX_BYTES {
            // Roles that were given before the limit was there, or by SQL; or settings that changed since.
            tracing::warn!(
                user.id = %grant.user.id, token.bytes = text.len(),
                "an access token is longer than services take: give its user fewer roles, or name fewer services and scopes"
            );
        }
        AccessToken { text, expires_in: exp - iat, scope }
    }

    fn sign(&self, claims: &AccessTokenClaims) -> String {
        let json = serde_json::to_vec(claims).expect("claims are plain data");
        let mut token = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(json));
        let signature = self.key.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }
}

/// One is written as a bare string (RFC 7519 §4.1.3).
fn claim(audience: Vec<String>) -> Audience {
    match <[String; 1]>::try_from(audience) {
        Ok([one]) => Audience::One(one),
        Err(many) => Audience::Many(many),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use claims::{Algorithm, SessionId, Timestamp, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::config::{Config, bytes_of_roles};
    use crate::store::{Client, ClientKind, UserRecord};

    /// Every scope and two services.
    fn config() -> Config {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let settings = [
            ("AUTH__DATABASE__URL", "sqlite:x.db"),
            ("AUTH__KEYS__MASTER_KEY", key),
            ("AUTH__TOKENS__AUDIENCE", "https://a.example,https://b.example"),
            ("AUTH__SCOPES", r#"{"latchkey:keys":{"roles":["admin"]}}"#),
        ];
        Config::load(None, settings.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap()
    }

    fn client(config: &Config) -> ClientPolicy {
        let client = Client {
            client_id: config.tokens.client_id.clone(),
            kind: ClientKind::Public,
            name: String::new(),
            scopes: config.tokens.scopes.clone(),
            default_scopes: config.tokens.default_scopes.clone(),
            audiences: config.tokens.audience.clone(),
            grants: Vec::new(),
            access: Duration::from_mins(10),
            idle: Duration::from_hours(1),
            absolute: Duration::from_hours(1),
        };
        ClientPolicy::new(client, config)
    }

    /// Roles that fill the room to the last byte.
    fn as_many_as_fit(room: usize) -> Vec<String> {
        let mut roles = vec!["admin".to_owned()];
        let mut left = room - bytes_of_roles(&roles);
        while left > 3 {
            let length = (left - 3).min(64);
            roles.push("r".repeat(length));
            left -= length + 3;
        }
        roles
    }

    fn grant(config: &Config, roles: Vec<String>) -> Grant {
        let now = Timestamp(1_795_287_000_000);
        let later = Timestamp(now.0 + 3_600_000);
        Grant {
            session_id: SessionId::from_bytes([7; 16]),
            user: UserRecord {
                id: UserId(Uuid::max()),
                username: Some("\u{1100}\u{1161}\u{11a8}".repeat(64)),
                email: Some("\u{1100}".repeat(254)),
                roles,
                created_at: now,
            },
            client_id: config.tokens.client_id.clone(),
            scope: format!("{} latchkey:keys", config.tokens.scopes).parse().unwrap(),
            audience: None,
            subject_version: u32::MAX,
            generation: 1,
            auth_time: now,
            amr: "mfa otp pwd".to_owned(),
            idle_expires_at: later,
            expires_at: later,
            now,
        }
    }

    #[test]
    fn with_as_many_roles_as_may_be_given_no_token_is_longer_than_services_take() {
        let config = config();
        let client = client(&config);
        let roles = as_many_as_fit(config.room_for_roles());
        let filled = config.room_for_roles() - bytes_of_roles(&roles);
        assert!(filled < 4, "{filled} bytes are left");
        for (algorithm, least) in
            [(Algorithm::Rs256, 8000), (Algorithm::Es256, 7000), (Algorithm::EdDsa, 7000)]
        {
            let tokens = AccessTokens::new(SigningKey::generate(algorithm).0, &config.issuer);
            let mint =
                |roles| tokens.mint(&grant(&config, roles), &client, client.audience.clone());
            let longest = mint(roles.clone());
            let bytes = longest.text.len();
            assert!((least..=access_token::MAX_BYTES).contains(&bytes), "{algorithm:?}: {bytes}");
            assert!(longest.scope.unwrap().contains("latchkey:keys"));
        }
    }
}
