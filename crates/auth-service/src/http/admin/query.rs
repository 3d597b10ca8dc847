//! Queries, read strictly: no member twice, none that the route does not know.

use actix_web::HttpRequest;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// How many are on a page where nothing is said.
const USUAL: u32 = 100;
const MOST: u32 = 500;

/// The query of a request. `members` tells what it may be, for whoever sent something else.
pub(super) fn query<T: DeserializeOwned>(
    request: &HttpRequest,
    members: &'static str,
) -> Result<T, Error> {
    // Its own text may repeat a value.
    serde_urlencoded::from_str(request.query_string()).map_err(|_| invalid(members))
}

/// How many are asked for.
pub(super) fn limit(asked: Option<u32>) -> Result<i64, Error> {
    let limit = asked.unwrap_or(USUAL);
    if (1..=MOST).contains(&limit) { Ok(limit.into()) } else { Err(invalid("limit is 1 to 500")) }
}

/// What somebody wrote in a query, as what it must be.
pub(super) fn parsed<T: std::str::FromStr>(
    text: Option<String>,
    expected: &'static str,
) -> Result<Option<T>, Error> {
    text.map(|text| text.parse().map_err(|_| invalid(expected))).transpose()
}

fn invalid(what: &str) -> Error {
    Error::InvalidRequest(format!("The query is not acceptable: {what}."))
}
