//! A discrepancy that the sequences found, told plainly.

use std::time::Duration;

use auth_service::config::SessionLimits;
use auth_service::identity::amr::Method;
use auth_service::identity::names;
use auth_service::store::{NewSession, NewUser, Presented, Requester, RotationOutcome, Target};
use claims::SessionId;
use testbed::on_both_databases;

on_both_databases! {
    /// A failover can come so soon after another rotation, or to a server whose clock is so far
    /// behind, that the generation it remembers is younger than the window. Its
    /// token must be caught up with all the same.
    async fn a_forgotten_rotation_is_caught_up_with_also_inside_the_window(world) {
        let store = &world.store;
        let key = names::username("ada").unwrap();
        let new = NewUser {
            username: Some(("ada".to_owned(), key.clone())),
            email: None,
            password_hash: "hash".to_owned(),
            roles: Vec::new(),
        };
        store.create_user(new).await.unwrap().unwrap();
        let session = SessionId::from_bytes([7; 16]);
        let credentials = store.credentials(key).await.unwrap().unwrap();
        let [idle, absolute] = [Duration::from_mins(10); 2];
        let limits = SessionLimits { idle, absolute, grace: Duration::from_secs(30) };
        let new = NewSession {
            id: session,
            user: credentials.user,
            versions: credentials.versions(),
            client_id: "web".parse().unwrap(),
            scope: "profile".parse().unwrap(),
            audience: None,
            limits,
            amr: Method::Password.into(),
            auth_time: None,
            device: None,
            requester: Requester::default(),
            replaces: None,
            max_sessions: 0,
        };
        store.open_session(new).await.unwrap().unwrap();
        let presented = |generation| Presented {
            session,
            client_id: "web".parse().unwrap(),
            generation,
            target: Target::Any(vec!["https://a.example".to_owned()]),
            requester: Requester::default(),
            limits,
        };
        assert!(matches!(store.rotate(presented(1)).await.unwrap(), RotationOutcome::Rotated(_)));
        let ahead = store.rotate(presented(3)).await.unwrap();
        assert!(matches!(ahead, RotationOutcome::FastForwarded(grant) if grant.generation == 4));
    }
}
