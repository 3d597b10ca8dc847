//! What the commands print of a thing, a line each, wherever they learnt of it.

use super::console::say;

/// Nothing to say of it.
const NOTHING: &str = "-";
/// The list of somebody's sessions has no more.
const MOST_SESSIONS: usize = 100;

/// A user.
pub(super) struct UserLine<'a> {
    pub(super) id: String,
    pub(super) username: Option<&'a str>,
    pub(super) email: Option<&'a str>,
    pub(super) roles: &'a [String],
    pub(super) enabled: bool,
    pub(super) created_at: String,
}

fn roles(user: &UserLine<'_>) -> String {
    if user.roles.is_empty() { NOTHING.to_owned() } else { user.roles.join(",") }
}

pub(super) fn user(user: &UserLine<'_>) -> String {
    format!(
        "{}\t{}\t{}\t{}\t{}\t{}",
        user.id,
        user.username.unwrap_or(NOTHING),
        user.email.unwrap_or(NOTHING),
        roles(user),
        if user.enabled { "enabled" } else { "disabled" },
        user.created_at,
    )
}

/// What is known of a user.
pub(super) struct ShownUser<'a> {
    pub(super) user: UserLine<'a>,
    pub(super) live_sessions: usize,
    pub(super) last_used_at: Option<String>,
}

/// Prints a line for each thing.
pub(super) fn show(shown: &ShownUser<'_>) {
    let user = &shown.user;
    let live = match shown.live_sessions {
        MOST_SESSIONS.. => format!("{MOST_SESSIONS} or more"),
        few => few.to_string(),
    };
    let roles = roles(user);
    for (name, value) in [
        ("id", user.id.as_str()),
        ("name", user.username.unwrap_or(NOTHING)),
        ("address", user.email.unwrap_or(NOTHING)),
        ("roles", &roles),
        ("state", if user.enabled { "enabled" } else { "disabled" }),
        ("registered", &user.created_at),
        ("live sessions", &live),
        ("last use of one", shown.last_used_at.as_deref().unwrap_or(NOTHING)),
    ] {
        say(&format!("{name}\t{value}"));
    }
}

/// What somebody has after they were renamed: the thing itself is not repeated.
pub(super) fn has(what: &str, new: Option<&str>) -> String {
    new.map_or_else(|| format!("no {what}"), |_| format!("the new {what}"))
}

pub(super) fn deleted(user: &str) -> String {
    format!(
        "{user} is deleted; every session is over, and a service that runs forgets the rest within minutes"
    )
}

/// A live session.
pub(super) struct SessionLine<'a> {
    pub(super) id: String,
    pub(super) created_at: String,
    pub(super) last_used_at: String,
    pub(super) ip: Option<&'a str>,
    pub(super) device: Option<&'a str>,
    pub(super) user_agent: Option<&'a str>,
}

pub(super) fn session(session: &SessionLine<'_>) -> String {
    // What a client calls itself is its own to choose; it must not move the cursor.
    format!(
        "{}\t{}\t{}\t{}\t{}\t{}",
        session.id,
        session.created_at,
        session.last_used_at,
        session.ip.unwrap_or(NOTHING),
        session.device.unwrap_or(NOTHING).escape_debug(),
        session.user_agent.unwrap_or(NOTHING).escape_debug(),
    )
}

/// An invitation that was just made: with what opens it, which nobody can learn afterwards.
pub(super) fn new_invitation(
    id: &str,
    token: Option<&str>,
    expires_at: &str,
    link: Option<&str>,
) -> String {
    format!("{id}\t{}\t{expires_at}\t{}", token.unwrap_or(NOTHING), link.unwrap_or(NOTHING))
}

/// An invitation.
pub(super) struct InvitationLine<'a> {
    pub(super) id: String,
    pub(super) email: Option<&'a str>,
    pub(super) state: &'a str,
    pub(super) created_at: String,
    pub(super) expires_at: String,
    pub(super) user: Option<String>,
}

pub(super) fn invitation(one: &InvitationLine<'_>) -> String {
    format!(
        "{}\t{}\t{}\t{}\t{}\t{}",
        one.id,
        one.email.unwrap_or(NOTHING),
        one.state,
        one.created_at,
        one.expires_at,
        one.user.as_deref().unwrap_or(NOTHING),
    )
}

/// A key.
pub(super) struct KeyLine<'a> {
    pub(super) id: &'a str,
    pub(super) purpose: &'a str,
    pub(super) algorithm: Option<&'a str>,
    pub(super) state: &'a str,
    pub(super) since: String,
    pub(super) logs_out_until: Option<String>,
}

pub(super) fn key(key: &KeyLine<'_>) -> String {
    let until = key.logs_out_until.as_ref();
    format!(
        "{}\t{}\t{}\t{}\t{}{}",
        key.id,
        key.purpose,
        key.algorithm.unwrap_or(NOTHING),
        key.state,
        key.since,
        until.map_or_else(String::new, |until| format!("\tlogs out until {until}")),
    )
}

/// A key that was just published, or let in at once.
pub(super) fn rotated(id: &str, takes_over: Option<(u32, &str)>) -> String {
    match takes_over {
        None => format!("{id} is active"),
        Some((seconds, since)) => {
            format!("{id} is published and takes over {seconds} s after {since}")
        }
    }
}
