//! A Postgres that only reads, where it wrote before: a standby behind the same address, a server on
//! which writing was turned off, and a failover. Connections that are open stay open in all of them.

use testbed::service::{assert_one_clear_line, run, until};
use testbed::standby::OwnPostgres;
use testbed::{Link, Service, Tokens};

/// Refreshes until it works, and it then is the service that says that it is ready.
async fn serves(auth: &Service, tokens: &mut Tokens) {
    until("it serves", async || {
        let answer = auth.refresh(&tokens.refresh).await;
        if answer.status == 200 {
            *tokens = Tokens::of(&answer);
        } else {
            answer.assert_problem(503, "unavailable");
        }
        answer.status == 200
    })
    .await;
    until("it is ready", async || auth.get("/health/ready").await.status == 200).await;
}

async fn says_that_it_cannot(auth: &Service, tokens: &Tokens) {
    // Before it learns of it, what it has are connections that were cut.
    until("it says why it is not ready", async || {
        let ready = auth.get("/health/ready").await;
        ready.status == 503 && ready.member("status") == "database is read-only"
    })
    .await;
    until("it says so to clients", async || {
        let refused = auth.refresh(&tokens.refresh).await;
        refused.assert_problem(503, "unavailable");
        refused.member("detail").contains("is read-only")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_only_reads_is_left_as_soon_as_there_is_one_that_writes() {
    let (mut primary, mut standby) = (OwnPostgres::new().await, OwnPostgres::new().await);
    primary.initialize();
    standby.follow(&primary);
    primary.start(None, &[]).await;
    standby.start(Some(&primary), &[]).await;
    let link = Link::start(primary.address.clone()).await;
    // Every refresh writes.
    let settings = [("AUTH__TOKENS__GRACE_SECONDS", "0")];
    let mut auth = Service::auth(&OwnPostgres::url_by(&link.address()), &settings);
    auth.start().await;
    let mut tokens = auth.newcomer("ada").await;

    // Nothing starts on the standby, and everything says why.
    let only_reads = Service::auth(&OwnPostgres::url_by(&standby.address), &settings).settings;
    for arguments in [&["serve"][..], &["migrate"], &["user", "list"]] {
        let output = run("auth-service", arguments, &only_reads);
        assert_one_clear_line(&output, "auth-service", &["standby", "is read-only", "primary"]);
    }
    let doctor = run("auth-service", &["doctor"], &only_reads);
    let told = String::from_utf8_lossy(&doctor.stdout);
    assert!(!doctor.status.success() && told.contains("BAD   database"), "{told}");
    assert!(told.contains("standby") && told.contains("is read-only"), "{told}");

    // The address leads to the standby, and new connections get there; then back, and nothing is cut.
    link.lead_to(standby.address.clone());
    link.reset();
    says_that_it_cannot(&auth, &tokens).await;
    link.lead_to(primary.address.clone());
    serves(&auth, &mut tokens).await;

    // Writing is turned off under open connections, as before a move to another server.
    primary.run("alter system set default_transaction_read_only = on").await;
    primary.run("select pg_reload_conf()").await;
    says_that_it_cannot(&auth, &tokens).await;
    primary.run("alter system reset all").await;
    primary.run("select pg_reload_conf()").await;
    serves(&auth, &mut tokens).await;

    // The standby takes over. What the primary acknowledged is there, so the token is good.
    primary.stop().await;
    link.lead_to(standby.address.clone());
    says_that_it_cannot(&auth, &tokens).await;
    assert!(standby.says("select pg_promote()").await);
    serves(&auth, &mut tokens).await;
    auth.logout(&tokens.refresh).await;
}
