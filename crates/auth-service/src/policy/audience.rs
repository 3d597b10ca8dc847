//! For which services there is to be a token, as a request says by `resource` (RFC 8707).

use crate::error::Error;
use crate::store::Target;
use crate::tokens::clients::ClientPolicy;

/// The services that are named; `None` where the request names none, and so wants all.
///
/// # Errors
/// [`Error::InvalidTarget`] where it names what its client may not have, or the same twice.
pub(crate) fn named(
    client: &ClientPolicy,
    resource: Option<&[String]>,
) -> Result<Option<Vec<String>>, Error> {
    let Some(resource) = resource else { return Ok(None) };
    let unknown = "The member `resource` must name services that there are tokens for here, exactly, and \
                   none twice.";
    client.services_named(resource).map(Some).ok_or(Error::InvalidTarget(unknown))
}

/// What a refresh wants that names these services, or none.
pub(crate) fn target(client: &ClientPolicy, named: Option<Vec<String>>) -> Target {
    named.map_or_else(|| Target::Any(client.audience.clone()), Target::Each)
}

/// Why a session does not get what a refresh wants.
pub(crate) fn refused(target: &Target) -> Error {
    Error::InvalidTarget(match target {
        Target::Each(_) => {
            "The session is not for all the services that `resource` names; log in for them."
        }
        Target::Any(_) => {
            "Tokens are no longer issued for any service that the session is for; log in for another."
        }
    })
}
