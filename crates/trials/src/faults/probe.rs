//! Asks an auth-service whether it serves, apart from all users.

use std::time::Duration;

use serde_json::json;
use tokio::time::{sleep, timeout};

use super::checker::Rule;
use super::court::Court;
use super::person::TIMEOUT;
use super::pulse::Watch;
use super::weather::RECOVERY;
use testbed::{PASSWORD, Service};

/// How long a service may take to recover on a machine that is busy with other things.
const LONGEST: Duration = RECOVERY.saturating_mul(4);

/// Registers somebody; whether that was done, or refused for want of the database. `None` without an
/// answer that says so.
pub(super) async fn takes_a_user(auth: &Service) -> Option<bool> {
    let name = format!("probe {}", uuid::Uuid::new_v4().simple());
    let body = json!({"username": name, "password": PASSWORD});
    let answer = timeout(TIMEOUT, auth.try_post("/register", &body)).await.ok()??;
    match answer.status {
        201 => Some(true),
        503 => Some(false),
        _ => None,
    }
}

/// The trouble is over: it writes within the time that it may take to recover. An attempt that has no
/// answer in time says nothing: passwords are hashed at the lowest priority, and a machine may be busy.
pub(super) async fn serves_again(auth: &Service, court: &Court, after: &str) {
    let process = auth.running();
    let watch = Watch::begin(&process);
    loop {
        let (late, much_too_late) = (is_over(&watch), watch.lasts() > LONGEST);
        match takes_a_user(auth).await {
            Some(true) => return,
            Some(false) if late => break,
            // By then it must at least say that it could.
            None if much_too_late && asked_ready(auth).await.is_err() => break,
            None if much_too_late => return,
            _ => {}
        }
        sleep(Duration::from_millis(20)).await;
    }
    court.object(Rule::Heals, &format!("{} does not serve after {after}", auth.public));
}

/// Waits until the service is ready, as long as it may take to recover.
///
/// # Errors
/// Why it is not after that time.
pub(super) async fn ready_again(service: &Service) -> Result<(), String> {
    let process = service.running();
    let watch = Watch::begin(&process);
    loop {
        let late = is_over(&watch);
        let Err(because) = asked_ready(service).await else { return Ok(()) };
        if late {
            return Err(format!("{} is not ready: {because}", service.public));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Asks a service whether it is ready.
///
/// # Errors
/// What it, or the system, says instead.
pub(super) async fn asked_ready(service: &Service) -> Result<(), String> {
    let url = format!("{}/health/ready", service.public);
    let asked = service.http.get(url).timeout(Duration::from_secs(1)).send().await;
    let answer = asked.map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(format!("{status}, {}", answer.text().await.unwrap_or_else(|error| error.to_string())))
}

/// Whether it has had the time to recover. What other programs take of the processor is added, up to a
/// limit.
fn is_over(watch: &Watch<'_>) -> bool {
    let lasts = watch.lasts();
    lasts > LONGEST || (lasts > RECOVERY && !watch.starved())
}
