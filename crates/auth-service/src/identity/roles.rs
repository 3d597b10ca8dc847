//! What administrators call what a user is.

/// Whether a text can be a role: 1 to 64 visible ASCII characters, without quotes, backslashes and commas.
/// Roles are kept, and told in tokens, with spaces between.
#[must_use]
pub fn is_role(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | ','))
}
