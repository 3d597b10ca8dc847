//! Instants and the durations that every party must agree on.

use std::str::FromStr;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The longest lifetime (`exp − iat`, seconds) a verifier accepts, whatever the issuer is set to.
pub const LIFETIME_CAP_SECONDS: u64 = 900;

/// How far clocks may differ before `exp`, `nbf` and `iat` are judged wrong, in seconds.
pub const LEEWAY_SECONDS: u64 = 30;

/// How long a revocation must be remembered, in seconds: as long as any token it could kill may
/// still be accepted somewhere, and a minute more.
pub const REVOCATION_TTL_SECONDS: u64 = LIFETIME_CAP_SECONDS + LEEWAY_SECONDS + 60;

/// An instant in Unix milliseconds, written in JSON as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(value_type = String, format = DateTime)
)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Whole Unix seconds, rounded down; instants before 1970 count as 0.
    #[must_use]
    pub fn unix_seconds(self) -> u64 {
        u64::try_from(self.0 / 1000).unwrap_or(0)
    }

    /// Whole seconds from `self` until `later`, rounded down; 0 when `later` has passed.
    #[must_use]
    pub fn seconds_until(self, later: Self) -> u64 {
        u64::try_from((later.0 - self.0) / 1000).unwrap_or(0)
    }
}

/// The text is no instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an instant of RFC 3339")]
pub struct MalformedInstant;

impl FromStr for Timestamp {
    type Err = MalformedInstant;

    /// Reads RFC 3339, in any zone.
    fn from_str(text: &str) -> Result<Self, MalformedInstant> {
        let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| MalformedInstant)?;
        let millis = instant.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(millis).map(Self).map_err(|_| MalformedInstant)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000))
            .ok()
            .and_then(|instant| instant.format(&Rfc3339).ok())
            .ok_or_else(|| serde::ser::Error::custom("instant out of range"))?;
        serializer.serialize_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_in_utc() {
        let json = serde_json::to_string(&Timestamp(1_795_287_000_999)).unwrap();
        assert_eq!(json, "\"2026-11-21T18:50:00Z\"");
    }

    #[test]
    fn an_instant_is_read_in_any_zone_and_nothing_else_is() {
        for text in
            ["2026-11-21T18:50:00Z", "2026-11-21T20:50:00+02:00", "2026-11-21T18:50:00.000Z"]
        {
            assert_eq!(text.parse(), Ok(Timestamp(1_795_287_000_000)), "{text}");
        }
        assert_eq!("1969-12-31T23:59:59.999Z".parse(), Ok(Timestamp(-1)));
        for bad in ["", "2026-11-21", "1795287000", "2026-13-01T00:00:00Z", "2026-11-21T18:50:00"] {
            assert_eq!(bad.parse::<Timestamp>(), Err(MalformedInstant), "{bad}");
        }
    }
}
