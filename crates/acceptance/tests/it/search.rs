//! Users listed and looked for: in pages, by an index, whatever the collation of the database.

use std::time::{Duration, Instant};

use auth_service::identity::names;
use auth_service::store::{Listed, NewUser, Store};
use sqlx::{AssertSqlSafe, Executor as _};
use testbed::{Database, Kind, World, on_both_databases};

/// Adds one who is called so; with an address where the second is not empty.
async fn add(store: &Store, name: &str, email: &str) {
    let named = |text: &str, key| (!text.is_empty()).then(|| (text.to_owned(), key));
    let new = NewUser {
        username: names::username(name).and_then(|key| named(name, key)),
        email: names::email(email).and_then(|key| named(email, key)),
        password_hash: "hash".to_owned(),
        roles: Vec::new(),
    };
    store.create_user(new).await.unwrap().unwrap();
}

fn called(one: &Listed) -> String {
    one.user.username.clone().or_else(|| one.user.email.clone()).unwrap()
}

/// Everybody who is found, page by page.
async fn found(store: &Store, text: &str, most: usize) -> Vec<String> {
    let beginning = names::beginning(text).expect("somebody may be called so");
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.search_users(beginning.clone(), after, most).await.unwrap().unwrap();
        assert!(page.len() <= most);
        let Some(last) = page.last() else { return all };
        after = Some(last.user.id);
        all.extend(page.iter().map(called));
    }
}

/// Adds so many users called `u1` and so on, with addresses.
async fn crowd(database: &Database, many: u32) {
    let sql = match database.kind() {
        Kind::Postgres => format!(
            "insert into users (id, username, username_key, email, email_key, password_hash, created_at) \
             select gen_random_uuid(), 'u' || i, 'u' || i, 'm' || i || '@example.com', \
                'm' || i || '@example.com', '', 1 from generate_series(1, {many}) i"
        ),
        Kind::Sqlite => format!(
            "with recursive n (i) as (select 1 union all select i + 1 from n where i < {many}) \
             insert into users (id, username, username_key, email, email_key, password_hash, created_at) \
             select printf('00000000-0000-4000-8000-%012d', i), 'u' || i, 'u' || i, \
                'm' || i || '@example.com', 'm' || i || '@example.com', '', 1 from n"
        ),
    };
    database.execute(AssertSqlSafe(sql)).await;
    database.execute("analyze users").await;
}

/// How the database would run the statements by which users are listed and found, told in its own words.
async fn plans(world: &World) -> Vec<String> {
    let statements = world.store.listing_statements();
    let mut plans = Vec::new();
    match world.database.kind() {
        Kind::Postgres => {
            let pool = world.database.postgres().await;
            let mut connection = pool.acquire().await.expect("a connection");
            connection
                .execute("set plan_cache_mode = force_generic_plan")
                .await
                .expect("a setting");
            for (number, sql) in statements.iter().enumerate() {
                let values = [
                    "'00000000-0000-4000-8000-000000000000', 20",
                    "'u', 'v', 20",
                    "'m', 'n', 20, 'm'",
                ];
                let prepare = format!("prepare p{number} as {sql}");
                connection.execute(AssertSqlSafe(prepare)).await.expect(sql);
                let explain = format!("explain execute p{number} ({})", values[number]);
                let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
                    .fetch_all(&mut *connection)
                    .await
                    .expect("a plan");
                plans.push(lines.join("\n"));
            }
            connection.close().await.expect("it closes");
            pool.close().await;
        }
        Kind::Sqlite => {
            let pool = world.database.sqlite().await;
            for sql in statements {
                let explain = format!("explain query plan {sql}");
                let rows =
                    sqlx::query(AssertSqlSafe(explain)).fetch_all(&pool).await.expect("a plan");
                let lines = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, "detail"));
                plans.push(lines.collect::<Vec<_>>().join("\n"));
            }
            pool.close().await;
        }
    }
    plans
}

fn assert_by_an_index(plans: &[String]) {
    for plan in plans {
        let lower = plan.to_lowercase();
        assert!(lower.contains("index"), "{plan}");
        for slow in ["seq scan", "sort", "temp b-tree", "scan u\n", "bitmap"] {
            assert!(!lower.contains(slow), "{slow} in {plan}");
        }
        assert!(!lower.starts_with("scan"), "{plan}");
    }
}

on_both_databases! {
    async fn a_search_finds_names_and_addresses_by_how_they_begin(world) {
        let store = &world.store;
        for (name, email) in [
            ("Ada", "lovelace@example.com"),
            ("ada2", "ada2@example.com"),
            ("Adam", ""),
            ("", "adele@example.com"),
            ("", "ADA@example.com"),
            ("Charles", "ada.babbage@example.com"),
            ("Grace", "hopper@example.com"),
            ("Zoë", ""),
            ("100%", ""),
            ("under_score", ""),
        ] {
            add(store, name, email).await;
        }
        let all = ["Ada", "ada2", "Adam", "Charles", "ADA@example.com"];
        for most in [1, 2, 3, 100] {
            assert_eq!(found(store, "ADA", most).await, all, "{most}");
            assert_eq!(found(store, "ａd", most).await, [&all[..], &["adele@example.com"]].concat(), "{most}");
        }
        assert_eq!(found(store, "ada@", 10).await, ["ADA@example.com"]);
        assert_eq!(found(store, "ZOE\u{308}", 10).await, ["Zoë"]);
        assert_eq!(found(store, "hopper@EXAMPLE", 10).await, ["Grace"]);
        // What a pattern would mean otherwise.
        for (text, one) in [("100%", "100%"), ("under_", "under_score"), ("1", "100%")] {
            assert_eq!(found(store, text, 10).await, [one]);
        }
        for nobody in ["%", "_", "adaa", "\\", "'", "zoe"] {
            assert_eq!(found(store, nobody, 10).await, [""; 0], "{nobody}");
        }
        // One whom the search does not find is no place to go on at.
        let grace = store.credentials(names::username("grace").unwrap()).await.unwrap().unwrap().user;
        let beginning = names::beginning("ada").unwrap();
        assert!(store.search_users(beginning, Some(grace), 10).await.unwrap().is_none());
    }

    /// Thousands whose name was found before stand in the way of those who are found by their address alone.
    async fn each_user_is_found_once_however_many_are_found_by_both(world) {
        crowd(&world.database, 3000).await;
        world.database.execute("update users set email = 'u' || email, email_key = 'u' || email_key").await;
        add(&world.store, "", "uzzz@example.com").await;
        let all = found(&world.store, "u", 700).await;
        assert_eq!((all.len(), all.last().map(String::as_str)), (3001, Some("uzzz@example.com")));
    }

    async fn every_page_of_a_list_and_of_a_search_is_served_by_an_index(world) {
        // docs/measurements.md has what it takes for a million.
        let many = std::env::var("LATCHKEY_TEST_USERS").ok().and_then(|many| many.parse().ok());
        let many = many.unwrap_or(20_000);
        crowd(&world.database, many).await;
        assert_by_an_index(&plans(&world).await);
        let mut longest = Duration::ZERO;
        for text in ["", "u", "m", "u1", "m1999", "nobody"] {
            let begun = Instant::now();
            match names::beginning(text) {
                Some(beginning) => {
                    world.store.search_users(beginning, None, 100).await.unwrap().unwrap();
                }
                None => assert_eq!(world.store.list_users(None, 100).await.unwrap().len(), 100),
            }
            longest = longest.max(begun.elapsed());
            println!("{many} users, first page of {text:?} in {:?}", begun.elapsed());
        }
        // A bound that a busy machine keeps too.
        assert!(longest < Duration::from_secs(2), "{longest:?}");
    }
}

/// By its rules letters of another case, and marks, stand beside each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collation_of_the_database_changes_nothing() {
    let world = World::start(Kind::Postgres).await;
    // They stand in the way of the change.
    for trigger in ["users_stay_deleted", "users_told"] {
        world.database.execute(AssertSqlSafe(format!("drop trigger {trigger} on users"))).await;
    }
    for column in ["username_key", "email_key"] {
        let sql = format!("alter table users alter column {column} type text collate \"en-x-icu\"");
        world.database.execute(AssertSqlSafe(sql)).await;
    }
    crowd(&world.database, 20_000).await;
    assert_by_an_index(&plans(&world).await);
    for name in ["ab", "a-b", "a b", "a.c", "a_d", "äb"] {
        add(&world.store, name, "").await;
    }
    assert_eq!(found(&world.store, "a", 1).await, ["a b", "a-b", "a.c", "a_d", "ab"]);
}
