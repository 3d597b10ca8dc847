//! The installation whose Postgres is two servers: a primary, and a standby that takes over. An
//! acknowledged write has been applied by both, so no failover may lose one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::sleep;

use super::chaos::{Counts, count};
use super::checker::Rule;
use super::court::Court;
use super::finale::ask_about_all;
use super::history::{BOUND, WINDOW};
use super::person::Stage;
use super::probe::{ready_again, serves_again};
use super::trouble::{Fault, Lane, Takeover};
use super::weather::Concern;
use testbed::service::until;
use testbed::standby::OwnPostgres;
use testbed::{Link, Service};

/// While there is no standby that is named, a commit waits for nobody.
const SETTINGS: &[&str] = &["synchronous_commit=remote_apply"];

/// Everything that runs, and ends with the value.
#[derive(Debug)]
pub struct Pair {
    auths: [Service; 2],
    resource: Service,
    /// Each auth-service to whichever server is to be the primary.
    links: [Link; 2],
    /// The primary and the standby; they change places.
    servers: Mutex<[OwnPostgres; 2]>,
}

impl Pair {
    /// Makes one and waits until all of it is ready.
    ///
    /// # Errors
    /// Says what cannot be done on this machine.
    pub async fn start() -> Result<Self, String> {
        let (mut primary, mut standby) = (OwnPostgres::new().await, OwnPostgres::new().await);
        if !standby.can_be_renewed() {
            let missing = "pg_basebackup is not where postgres is: install it there";
            return Err(format!("a failover of Postgres: {missing}"));
        }
        primary.initialize();
        primary.start(None, SETTINGS).await;
        primary.run("create schema harness; create table harness.proof (number int)").await;
        standby.renew(&primary).await;
        standby.start(Some(&primary), SETTINGS).await;
        synchronize(&primary, &standby).await;
        let links = [Link::start(&primary.address).await, Link::start(&primary.address).await];
        let (bound, window) = (BOUND.as_secs().to_string(), WINDOW.as_secs().to_string());
        let mut auths = links.each_ref().map(|link| {
            let settings = [
                ("AUTH__REVOCATION__MAX_STALENESS_SECONDS", bound.as_str()),
                ("AUTH__TOKENS__GRACE_SECONDS", window.as_str()),
                // A session that a later login ends would count as one that ended for no reason.
                ("AUTH__TOKENS__MAX_SESSIONS", "0"),
            ];
            Service::auth(&OwnPostgres::url_by(&link.address()), &settings)
        });
        // One after the other: the first one makes the schema and the keys.
        for auth in &mut auths {
            auth.start().await;
        }
        let feeds = auths.each_ref().map(|auth| format!("{}/internal/revocations", auth.internal));
        let settings = [
            ("RESOURCE__FEED__URLS", feeds.join(",")),
            ("RESOURCE__REVOCATION__MAX_STALENESS_SECONDS", bound.clone()),
        ];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let mut resource = Service::resource(&auths[0], &settings);
        resource.start().await;
        Ok(Self { auths, resource, links, servers: Mutex::new([primary, standby]) })
    }

    /// Where its services are. Users who go to three resource-services go to the same each time.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let links = self.auths.each_ref().map(|auth| auth.public.clone());
        Stage::new(links, self.auths.each_ref(), [&self.resource; 3])
    }

    /// Takes the primary away again and again until the play is over.
    ///
    /// # Panics
    /// When a server is not as it must be, or the lane is not of this installation.
    pub async fn run(&self, mut lane: Lane, stage: &Stage, court: &Court, counts: &Counts) {
        while !stage.is_over() {
            sleep(lane.long_peace()).await;
            let fault = lane.draw();
            let lasts = fault.lasts(&mut lane.rng);
            let mut servers = self.servers.lock().await;
            let [primary, standby] = &mut *servers;
            let spell =
                stage.weather.begin(Some(Concern::Database), &fault.to_string(), stage.now());
            match fault {
                Fault::OnStandby => {
                    self.lead_to(standby);
                    self.links.iter().for_each(Link::reset);
                    sleep(lasts).await;
                    // What is open stays open, to the server that only reads.
                    self.lead_to(primary);
                }
                Fault::Failover(takeover) => {
                    self.fail_over(takeover, lasts, primary, standby).await;
                }
                other => panic!("{other} is not a fault of this installation"),
            }
            stage.weather.end(spell, stage.now());
            self.serve_again(court, &fault.to_string()).await;
            count(counts, fault);
            if matches!(fault, Fault::Failover(_)) {
                servers.reverse();
                let [primary, standby] = &mut *servers;
                standby.renew(primary).await;
                standby.start(Some(primary), SETTINGS).await;
                synchronize(primary, standby).await;
            }
        }
    }

    /// The primary is gone for good before the standby is promoted: two that write would be two truths.
    async fn fail_over(
        &self,
        takeover: Takeover,
        lasts: Duration,
        primary: &mut OwnPostgres,
        standby: &OwnPostgres,
    ) {
        match takeover {
            Takeover::Stopped => {
                primary.stop().await;
                self.lead_to(standby);
                sleep(lasts).await;
            }
            Takeover::Killed => {
                primary.kill().await;
                sleep(lasts).await;
            }
            Takeover::Silent => {
                self.links.iter().for_each(Link::silence);
                primary.kill().await;
                // What is opened before the promotion finds a server that only reads.
                self.lead_to(standby);
                sleep(lasts).await;
            }
        }
        assert!(standby.says("select pg_promote()").await, "the standby takes over");
        self.lead_to(standby);
    }

    fn lead_to(&self, server: &OwnPostgres) {
        for link in &self.links {
            link.lead_to(server.address.clone());
        }
    }

    async fn serve_again(&self, court: &Court, after: &str) {
        let [one, other] = &self.auths;
        tokio::join!(serves_again(one, court, after), serves_again(other, court, after));
    }

    /// The last question, when the play is over and the last failover too.
    pub async fn ask(&self, stage: &Arc<Stage>, court: &Court) {
        self.serve_again(court, "the last failover").await;
        sleep(BOUND).await;
        if let Err(because) = ready_again(&self.resource).await {
            court.object(Rule::Heals, &because);
        }
        ask_about_all(stage, court, court.kept()).await;
    }
}

/// From now on a commit at the primary is acknowledged when the standby has applied it. Proved by one
/// that waits while the standby applies nothing: what is set is not yet what is done.
async fn synchronize(primary: &OwnPostgres, standby: &OwnPostgres) {
    let streams = "select exists (select from pg_stat_replication where state = 'streaming')";
    until("the standby follows", async || primary.says(streams).await).await;
    primary.run("alter system set synchronous_standby_names = '*'").await;
    primary.run("select pg_reload_conf()").await;
    standby.run("select pg_wal_replay_pause()").await;
    let waits = "select exists (select from pg_stat_activity where wait_event = 'SyncRep')";
    let mut writing = None;
    until("a commit waits for the standby", async || {
        let writes =
            writing.as_ref().is_some_and(|task: &tokio::task::JoinHandle<_>| !task.is_finished());
        if !writes {
            let connection = primary.connect().await.expect("it answers");
            writing = Some(tokio::spawn(write(connection)));
        }
        primary.says(waits).await
    })
    .await;
    standby.run("select pg_wal_replay_resume()").await;
    if let Some(writing) = writing {
        writing.await.expect("nobody panics");
    }
    // And whatever was acknowledged before that.
    let applied =
        "select bool_and(replay_lsn >= pg_current_wal_flush_lsn()) from pg_stat_replication";
    until("the standby has everything", async || primary.says(applied).await).await;
}

async fn write(mut connection: sqlx::PgConnection) {
    use sqlx::Executor as _;
    let written = connection.execute("insert into harness.proof values (1)").await;
    written.expect("it is written");
}
