//! People who log in, work and log out at whichever service is in the list, without knowing its version.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use testbed::{PASSWORD, Tokens};
use tokio::task::JoinHandle;

use super::stage::Stage;

/// So many work at once.
const CROWD: usize = 8;
/// Sessions from before the upgrade that nobody uses until it is over.
const SLEEPING: usize = 20;
/// A client waits so long after each round, at most: the machine is shared.
const PAUSE_MS: u64 = 100;

/// Those who work, and those who were signed in before and come back afterwards.
pub(super) struct Crowd {
    working: Vec<JoinHandle<Option<Tokens>>>,
    watching: JoinHandle<()>,
    sleeping: Vec<Tokens>,
}

impl Crowd {
    pub(super) async fn start(stage: &Arc<Stage>) -> Self {
        let mut sleeping = Vec::new();
        for number in 0..SLEEPING {
            let name = format!("sleeper-{number}");
            let tokens = newcomer(stage, &name).await;
            sleeping.extend(tokens);
        }
        let working = (0..CROWD).map(|number| {
            let stage = Arc::clone(stage);
            tokio::spawn(async move { work(&stage, number).await })
        });
        let working = working.collect();
        let watching = Arc::clone(stage);
        let watching = tokio::spawn(async move { watching.watch().await });
        Self { working, watching, sleeping }
    }

    /// Waits until all have stopped working. Says how many sessions are live that should be, and how many should be.
    pub(super) async fn end(self, stage: &Stage) -> (usize, usize) {
        let mut sessions = self.sleeping;
        let expected = SLEEPING + CROWD;
        for client in self.working {
            sessions.extend(client.await.expect("the client works"));
        }
        self.watching.await.expect("the watch works");
        let mut live = 0;
        for tokens in &sessions {
            let next = stage.refresh(&stage.auths.any(), tokens).await;
            if let Some(next) = next {
                stage.is_accepted(&next.access).await;
                live += 1;
            }
        }
        (live, expected)
    }
}

async fn newcomer(stage: &Stage, name: &str) -> Option<Tokens> {
    let who = json!({"username": name, "password": PASSWORD});
    stage.register(&stage.auths.any(), &who).await?;
    stage.log_in(&stage.auths.any(), name, PASSWORD).await
}

/// Gives back the session that it had at last.
async fn work(stage: &Stage, number: usize) -> Option<Tokens> {
    let name = format!("client-{number}");
    let mut session = newcomer(stage, &name).await;
    while !stage.is_over() {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..PAUSE_MS))).await;
        let Some(tokens) = session else {
            // What went wrong was written down where it did.
            session = stage.log_in(&stage.auths.any(), &name, PASSWORD).await;
            continue;
        };
        session = match fastrand::u8(..100) {
            0..5 => {
                let ended = stage.log_out(&stage.auths.any(), &tokens, "current").await;
                if ended.is_some() {
                    stage.has_ended(&tokens).await;
                }
                stage.log_in(&stage.auths.any(), &name, PASSWORD).await
            }
            5..15 => {
                let path = *fastrand::choice(&["/me", "/sessions", "/sessions/events"])
                    .expect("there is one");
                let at = stage.auths.any();
                let request = stage.get(&at, path, &tokens.access);
                stage.ask("looks at the account", &at, request, 200).await;
                Some(tokens)
            }
            _ => {
                stage.pass_window(&tokens.session).await;
                stage.refresh(&stage.auths.any(), &tokens).await
            }
        };
        if let Some(tokens) = &session {
            stage.is_accepted(&tokens.access).await;
        }
    }
    session
}
