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
        AccessToken { text: self.sign(&claims), expires_in: exp - iat, scope }
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
