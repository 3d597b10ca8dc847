//! Looking how long what is ended goes on being accepted.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;

use super::super::history::{AccessToken, BOUND, Outcome};
use super::super::person::Person;

/// Presents tokens whose end was just acknowledged to every resource-service: until each refuses,
/// and again several times from the bound on, when none may accept.
pub(super) async fn watch(person: &Person, ended: &[AccessToken]) {
    let since = person.stage.now();
    join_all((0..3).map(|resource| async move {
        'tokens: for token in ended {
            let mut pause = Duration::from_millis(4);
            while person.stage.now() < since + BOUND {
                if matches!(
                    person.present(resource, token).await,
                    Outcome::Refused { status: 401, .. }
                ) {
                    continue 'tokens;
                }
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(120));
            }
        }
    }))
    .await;
    // A wrong age shows itself in the second after the bound.
    for late in [10, 200, 400, 600, 800, 1100] {
        let at = since + BOUND + Duration::from_millis(late);
        sleep(at.saturating_sub(person.stage.now())).await;
        let all = ended.iter().flat_map(|token| (0..3).map(move |at| (at, token)));
        join_all(all.map(|(at, token)| person.present(at, token))).await;
    }
}
