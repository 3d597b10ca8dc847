//! Secrets stay where they belong: not in a log of any level, not in an error or a header of it, not in
//! metrics, not in traces, not in the database, not in Redis.
//!
//! Every route and command is used well and badly with passwords, tokens and keys that are known here,
//! and then everything that was written anywhere is searched for them, in all forms that
//! [`canaries`] knows.

mod administration;
mod canaries;
mod commands;
mod dump;
mod routes;
mod scene;
mod site;

use canaries::{Canaries, Place};
use testbed::{Database, Kind};

use scene::Scene;
use site::Site;

/// Runs everything, and looks.
async fn nothing_is_told(mut site: Site) {
    site.start().await;
    let mut scene = Scene::new(&site);
    site.introduce(&mut scene).await;
    routes::play(&mut scene, &site).await;
    administration::play(&mut scene, &site).await;
    commands::play(&mut scene, &site).await;
    site.search(scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_where_it_may_not_be_on_postgres() {
    nothing_is_told(Site::of_two(Database::create(Kind::Postgres).await).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_where_it_may_not_be_on_sqlite() {
    nothing_is_told(Site::of_two(Database::create(Kind::Sqlite).await).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_where_it_may_not_be_in_one_process() {
    nothing_is_told(Site::of_one(Database::create(Kind::Sqlite).await).await).await;
}

/// What the others are worth: each kind of place with one secret in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_planted_is_found_in_each_kind_of_place() {
    for kind in [Kind::Postgres, Kind::Sqlite] {
        let mut site = Site::of_two(Database::create(kind).await).await;
        site.start().await;
        site.plant("planted-0123456789abcdef").await;
        let mut canaries = Canaries::default();
        canaries.text("password", "that was planted", "planted-0123456789abcdef");
        let places: Vec<Place> = site.written().await;
        for wanted in [
            "auth-service.log",
            "column users.username",
            "column events.user_agent",
            "Redis' GET planted",
            "Redis' keys",
            "what Redis was told",
            "an answer",
        ] {
            let here: Vec<_> = places.iter().filter(|place| place.name.contains(wanted)).collect();
            assert!(!here.is_empty(), "nothing of {wanted}");
            assert!(!canaries.found(here).is_empty(), "not found in {wanted}");
        }
    }
}
