//! Who may make an account.

use hosting::settings::one_of;
use serde::{Deserialize, Deserializer};

/// Who may make an account by `POST /register`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Whoever comes.
    Open,
    /// Whoever has an invitation.
    Invite,
    /// Nobody: administrators make accounts.
    Closed,
}

impl RegistrationMode {
    /// The word of the settings, of the metadata and of the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Invite => "invite",
            Self::Closed => "closed",
        }
    }
}

/// Reads the setting; `None` where it is empty.
pub(super) fn mode_or_unset<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<RegistrationMode>, D::Error> {
    let all = [RegistrationMode::Open, RegistrationMode::Invite, RegistrationMode::Closed];
    let [open, invite, closed] = all.map(|mode| (mode.as_str(), Some(mode)));
    let text = String::deserialize(deserializer)?;
    one_of(&text, &[("", None), open, invite, closed]).map_err(serde::de::Error::custom)
}
