//! What goes into the store and comes out of it.

use std::net::IpAddr;
use std::time::Duration;

use claims::{ClientId, Scope, SessionId, Timestamp, UserId};

use crate::config::SessionLimits;
use crate::identity::amr::Amr;
use crate::identity::names::NameKey;
use crate::store::UserView;

/// A user to be added.
#[derive(Debug)]
pub struct NewUser {
    /// The name as written, and what it is compared by.
    pub username: Option<(String, NameKey)>,
    /// The same of the address. There is at least one of the two.
    pub email: Option<(String, NameKey)>,
    pub password_hash: String,
    /// What they may do beyond others.
    pub roles: Vec<String>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    pub id: UserId,
    /// The name as written, if they have one.
    pub username: Option<String>,
    /// The address as written.
    pub email: Option<String>,
    pub roles: Vec<String>,
    pub created_at: Timestamp,
}

/// What becomes of a name or an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NameChange {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is taken away.
    Remove,
    /// This takes its place: as written, and what it is compared by.
    Set(String, NameKey),
}

/// What somebody is to be called from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewNames {
    pub username: NameChange,
    pub email: NameChange,
}

/// What became of a change of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renaming {
    /// Who they are now, and what was changed.
    Done { user: UserRecord, renamed: bool, email_changed: bool },
    /// The name or the address belongs to somebody else. Nothing was changed.
    Taken,
    /// There would be neither a name nor an address. Nothing was changed.
    Nameless,
    /// There is no such user, or the caller's session is over.
    Unknown,
}

/// A user as administrators see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub user: UserRecord,
    /// Whether they may log in.
    pub enabled: bool,
}

/// What is to become of a user; `None` stays.
#[derive(Debug, Default)]
pub struct UserChange {
    pub names: NewNames,
    pub enabled: Option<bool>,
    pub roles: Option<Vec<String>>,
}

/// What became of such a change.
#[derive(Debug)]
pub struct UserChanged {
    /// Unless it is [`Renaming::Done`], nothing was changed.
    pub names: Renaming,
    /// Whether they are enabled now and were not, or the other way round.
    pub enabled: bool,
    /// Whether they have other roles than before.
    pub roles: bool,
}

impl From<Renaming> for UserChanged {
    fn from(names: Renaming) -> Self {
        Self { names, enabled: false, roles: false }
    }
}

impl From<UserRecord> for UserView {
    fn from(user: UserRecord) -> Self {
        let UserRecord { id, username, email, roles: _, created_at } = user;
        Self { id, username, email, created_at }
    }
}

/// What a password is checked against, and the versions it was read at.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub user: UserId,
    /// Their name, for the policy on new passwords.
    pub username: Option<String>,
    pub email: Option<String>,
    pub password_hash: String,
    /// Raised by a password change.
    pub password_version: i64,
    /// Raised by logging out everywhere.
    pub version: i64,
    /// Whether they may log in.
    pub enabled: bool,
}

impl Credentials {
    /// The versions that they were read at.
    #[must_use]
    pub fn versions(&self) -> Versions {
        Versions { subject: self.version, password: self.password_version }
    }
}

/// What was true of an account when somebody was authenticated. Where either has changed since, they no
/// longer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// Raised by logging out everywhere.
    pub subject: i64,
    /// Raised by a password change.
    pub password: i64,
}

/// Where a request came from, as far as it can be known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requester {
    pub ip: Option<String>,
    /// What the client calls itself.
    pub user_agent: Option<String>,
}

impl Requester {
    /// The network address, as one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.ip.as_deref()?.parse().ok()
    }
}

/// A session to be opened.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Derived from its refresh token.
    pub id: SessionId,
    pub user: UserId,
    /// What they were authenticated at. It is opened only while the account still has these.
    pub versions: Versions,
    /// The client it is for.
    pub client_id: ClientId,
    /// What it may do.
    pub scope: Scope,
    /// The services that it is for; `None`: all that its client may have.
    pub audience: Option<Vec<String>>,
    /// How long it lives.
    pub limits: SessionLimits,
    /// How they were authenticated.
    pub amr: Amr,
    /// When; `None`: at the moment at which the session is opened.
    pub auth_time: Option<Timestamp>,
    /// What the client calls the device.
    pub device: Option<String>,
    pub requester: Requester,
    /// The session that ends because this one begins in its place.
    pub replaces: Option<SessionId>,
    /// How many live sessions the user may have, this one included; what is beyond that ends. 0: any
    /// number.
    pub max_sessions: u32,
}

/// A refresh token that was presented, less its secret.
#[derive(Debug, Clone)]
pub struct Presented {
    /// The session it belongs to.
    pub session: SessionId,
    /// The client it was made for.
    pub client_id: ClientId,
    pub generation: u32,
    /// The services that a token is wanted for.
    pub target: Target,
    pub requester: Requester,
    /// The present limits. Where the session was opened with longer ones, these count.
    pub limits: SessionLimits,
}

/// For which services a refresh wants a token (the target services of RFC 8707).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// For each of these. Where the session is not for all of them, nothing is rotated.
    Each(Vec<String>),
    /// For those of these that the session is for. Where it is for none of them, nothing is rotated.
    Any(Vec<String>),
}

impl Target {
    /// The services, in the order in which a token names them.
    #[must_use]
    pub fn services(&self) -> &[String] {
        match self {
            Self::Each(services) | Self::Any(services) => services,
        }
    }

    /// For how many of the services the session must be.
    pub(super) fn least(&self) -> usize {
        match self {
            Self::Each(services) => services.len(),
            Self::Any(_) => 1,
        }
    }

    /// The services that a token is for where its session is for those of `audience`, or for all; `None`
    /// where those are too few.
    #[must_use]
    pub fn within(&self, audience: Option<&[String]>) -> Option<Vec<String>> {
        let held = |service: &&String| audience.is_none_or(|held| held.contains(service));
        let held: Vec<_> = self.services().iter().filter(held).cloned().collect();
        (held.len() >= self.least()).then_some(held)
    }
}

impl Presented {
    /// How long after a rotation the session does not rotate again from generation `from`. Tabs share a cookie jar, and pages make many calls at once without a lock: a
    /// second rotation within the window would leave the slower ones two tokens behind. A token that
    /// the database forgot is ahead of the current one and rotates at once.
    pub(super) fn repeat_window(&self, from: u32) -> Duration {
        if from == self.generation { self.limits.grace } else { Duration::ZERO }
    }

    /// For how many of the services that are wanted the session must be, as the database counts.
    pub(super) fn least_services(&self) -> i64 {
        i64::try_from(self.target.least()).unwrap_or(i64::MAX)
    }
}

/// Who acts on sessions.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    pub session: SessionId,
    /// Whose it is, where the credential says so.
    pub user: Option<UserId>,
    /// The generation of the refresh token they acted with: it must be the current one, or within
    /// the window. `None` when they acted with an access token.
    pub generation: Option<u32>,
    pub grace: Duration,
}

/// A live session as the database granted it: everything a token answer is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub session_id: SessionId,
    pub user: UserRecord,
    pub client_id: ClientId,
    /// What it may do.
    pub scope: Scope,
    /// The services that it is for; `None`: all that its client may have.
    pub audience: Option<Vec<String>>,
    /// The subject's version at the session's start, never the current one: a refresh that slips
    /// past a logout-everywhere must carry the old version.
    pub subject_version: u32,
    /// The generation of the refresh token that is good now.
    pub generation: u32,
    /// When they logged in.
    pub auth_time: Timestamp,
    pub amr: String,
    /// When it ends unless used; never after `expires_at`.
    pub idle_expires_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
    pub now: Timestamp,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The user logged out.
    Logout,
    /// The password was changed.
    Password,
    /// An administrator ended it.
    Admin,
    /// The user was disabled.
    Disabled,
    /// A spent refresh token was presented.
    Reuse,
    /// The user has more sessions than they may have.
    Limit,
}

impl EndReason {
    /// The name in the database and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Password => "password",
            Self::Admin => "admin",
            Self::Disabled => "disabled",
            Self::Reuse => "reuse",
            Self::Limit => "limit",
        }
    }

    /// Reads the name from the database.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all =
            [Self::Logout, Self::Password, Self::Admin, Self::Disabled, Self::Reuse, Self::Limit];
        all.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// What becomes of sessions at a password change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtherSessions {
    /// All but the caller's end.
    #[default]
    Others,
    /// All end.
    All,
    /// None ends.
    None,
}

/// A password change.
#[derive(Debug, Clone)]
pub struct NewPassword {
    /// The caller's session, which must be live.
    pub session: SessionId,
    pub user: UserId,
    /// The version the old one was checked at.
    pub password_version: i64,
    pub password_hash: String,
    /// What becomes of sessions.
    pub sessions: OtherSessions,
}

/// What became of a session to be ended by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is over, now or before.
    Ended,
    /// The caller's user has no such session.
    NotFound,
    /// The caller's own session is over.
    CallerEnded,
}

/// A session as it was found when a rotation changed nothing.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) grant: Grant,
    /// Why it was ended, if it was.
    pub(super) ended: Option<EndReason>,
    /// Why it no longer counts although its row was not touched: the user was disabled, or logged
    /// out everywhere.
    pub(super) superseded: Option<EndReason>,
    /// When it was opened.
    pub(super) opened_at: Timestamp,
    /// When it was used last: rotated, or else opened.
    pub(super) used_at: Timestamp,
    /// Whether the current generation was made less than the grace window ago.
    pub(super) in_window: bool,
    /// Whether this very look ended it, because the token had been spent.
    pub(super) reuse_ended_it: bool,
    /// Who had the current generation made.
    pub(super) rotated_by: Requester,
}
