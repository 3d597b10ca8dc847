//! Tabs that share a cookie jar: their refreshes overlap, their replies land in any order, and the
//! jar may be written by a slow reply after a fast one. Nobody may be logged out by that.

use std::time::Duration;

use aws_lc_rs::rand;
use futures_util::future::join_all;
use serde_json::json;
use testbed::{Browser, PASSWORD, World, on_both_databases};

/// A random part of `most`.
fn part_of(most: Duration) -> Duration {
    let mut bytes = [0; 4];
    rand::fill(&mut bytes).unwrap();
    most.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}

/// Opens at a random moment, refreshes, and hears of it after a random delay.
async fn open_tab(browser: Browser, spread: Duration) {
    tokio::time::sleep(part_of(spread)).await;
    let answer = browser.send("/refresh", &json!({})).await;
    tokio::time::sleep(part_of(spread)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    browser.take(&answer);
}

async fn nobody_is_logged_out(world: &World, trials: usize, tabs: usize, spread: Duration) {
    let mut browsers = Vec::new();
    for trial in 0..trials {
        let name = format!("user {trial}");
        world.register(&name).await;
        let browser = world.browser();
        assert_eq!(browser.login(&name, PASSWORD).await.status, 200);
        browsers.push(browser);
    }
    // The login is long ago, as when a browser is started with all its tabs.
    world.clock.advance(700);
    let trial = |browser: &Browser| {
        join_all((0..tabs).map(|_| open_tab(browser.clone(), spread)).collect::<Vec<_>>())
    };
    join_all(browsers.iter().map(trial)).await;
    // Long after: a jar that had run backwards would now hold a spent token.
    world.clock.advance(700);
    for browser in &browsers {
        let answer = browser.refresh().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

on_both_databases! {
    async fn five_tabs_within_a_third_of_a_second_stay_logged_in(world) {
        nobody_is_logged_out(&world, 25, 5, Duration::from_millis(300)).await;
    }

    async fn five_tabs_within_two_seconds_stay_logged_in(world) {
        nobody_is_logged_out(&world, 25, 5, Duration::from_secs(2)).await;
    }
}
