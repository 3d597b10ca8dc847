//! Refusals of the expensive routes are held back for a moment.
//!
//! A client that tries again and again in a loop gets its refusals as fast as it asks, and then the
//! refusing alone takes the cores from everybody else. Half a second costs an honest client nothing (it
//! is told to wait longer), costs us a timer, and hides how long it took to refuse. Only so many are
//! held at once: held answers are memory, and beyond that a flood is better answered at once.

use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web;

use crate::error::Error;
use crate::identity::random;
use crate::policy::app::App;

/// At the least; and up to so much more, at random: a flood that was answered all at once would come
/// back all at once.
const HELD_FOR: Duration = Duration::from_millis(500);
const SPREAD_MS: u64 = 500;

/// A middleware: no refusal leaves sooner than half a second after its request came, nor much later than
/// a whole one.
pub(crate) async fn back(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let app = request.app_data::<web::Data<App>>().cloned();
    let spread = Duration::from_millis(random::up_to(SPREAD_MS));
    let moment = tokio::time::sleep(HELD_FOR + spread);
    let response = next.call(request).await?;
    let error = response.response().error().and_then(actix_web::Error::as_error::<Error>);
    let is_refusal = matches!(error, Some(Error::RateLimited(_) | Error::Overloaded));
    if is_refusal
        && let Some(app) = app
        && let Ok(_place) = app.limits.held.try_acquire()
    {
        moment.await;
    }
    Ok(response)
}
