//! Resets its connections in the middle of what it asked for.

use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use tokio::time::sleep;

use super::super::history::{Ending, Operation, Outcome};
use super::super::person::Person;
use super::newcomer;
use testbed::PASSWORD;
use testbed::reset::post_and_reset;

pub(super) async fn live(person: Person, mut rng: Rng) {
    let Some(grant) = newcomer(&person, &mut rng).await else { return };
    for _ in 0..rng.usize(10..40) {
        if person.stage.is_over() {
            return;
        }
        let token = &grant.refresh;
        let refresh = json!({ "refresh_token": &*token.text });
        let (path, body, operation) = match rng.u8(..4) {
            0 => ("/refresh", refresh, Operation::Refresh(token.clone())),
            1 => {
                let login = json!({"username": person.username(), "password": PASSWORD});
                ("/login", login, Operation::LogIn)
            }
            _ => ("/logout", refresh, Operation::LogOut(token.clone(), Ending::Current)),
        };
        // From at once to when even a slow database has answered, each length as likely.
        let after =
            Duration::from_micros(200 << rng.u32(..10)) + Duration::from_micros(rng.u64(..400));
        let at = rng.usize(..2);
        let begun = person.stage.now();
        post_and_reset(&person.stage.direct[at], path, &body, after).await;
        person.note(begun, at, operation, Outcome::Lost);
        sleep(Duration::from_millis(rng.u64(..10))).await;
    }
}
