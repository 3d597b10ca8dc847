//! Asks an auth-service whether it serves, apart from all users.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::{sleep, timeout};

use super::checker::Rule;
use super::court::Court;
use super::person::TIMEOUT;
use super::site::answers_ready;
use super::weather::RECOVERY;
use testbed::{PASSWORD, Service};

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
    let since = Instant::now();
    loop {
        let begun = since.elapsed();
        match takes_a_user(auth).await {
            Some(true) => return,
            Some(false) if begun > RECOVERY => break,
            // By then it must at least say that it could.
            None if begun > 4 * RECOVERY && !answers_ready(auth).await => break,
            None if begun > 4 * RECOVERY => return,
            _ => {}
        }
        sleep(Duration::from_millis(20)).await;
    }
    court.object(Rule::Heals, &format!("{} does not serve after {after}", auth.public));
}
