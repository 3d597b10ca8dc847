//! The small installation: one auth-service on SQLite, on a disk that is full from time to time, and
//! one resource-service that follows it.

#![expect(clippy::missing_panics_doc, reason = "panics where the machine is not as it must be")]

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::sleep;

use super::chaos::{Counts, count};
use super::checker::Rule;
use super::court::Court;
use super::finale::ask_about_all;
use super::history::{BOUND, WINDOW};
use super::person::Stage;
use super::probe::{asked_ready, ready_again, serves_again, takes_a_user};
use super::site::revive;
use super::trouble::{Fault, Lane, Room};
use super::weather::Concern;
use testbed::{Database, Service};

/// The variable that names a directory on a small disk of its own. Whoever starts the harness makes
/// it, where that is allowed.
pub const DISK: &str = "LATCHKEY_TEST_SMALL_DISK";

/// How long writes may still find room on a full disk: the log of SQLite is written from its
/// beginning again and again, in the room that it has.
const NOTICED_WITHIN: Duration = Duration::from_secs(8);
/// How many writes must be refused before there is room again.
const REFUSALS: usize = 8;
/// How many writes in a row may be refused by a service that calls itself ready before each: those of
/// others are smaller and may just fit.
const JUST_FIT: usize = 5;

/// After what it serves again.
const ROOM: &str = "there is room on the disk";

/// Everything that runs, and ends with the value.
#[derive(Debug)]
pub struct Small {
    auth: Mutex<Service>,
    resource: Service,
    /// Takes the room of the disk; `None` where there is no disk to fill.
    ballast: Option<PathBuf>,
    /// Last: what uses it is ended before.
    database: Database,
}

impl Small {
    /// Makes one and waits until all of it is ready.
    pub async fn start() -> Self {
        let disk = std::env::var_os(DISK).map(PathBuf::from);
        let directory = match &disk {
            Some(disk) => tempfile::tempdir_in(disk),
            None => tempfile::tempdir(),
        };
        let database = Database::sqlite_in(directory.expect("a directory can be made"));
        let (bound, window) = (BOUND.as_secs().to_string(), WINDOW.as_secs().to_string());
        let settings = [
            ("AUTH__REVOCATION__MAX_STALENESS_SECONDS", bound.as_str()),
            ("AUTH__TOKENS__GRACE_SECONDS", window.as_str()),
            // A session that a later login ends would count as one that ended for no reason.
            ("AUTH__TOKENS__MAX_SESSIONS", "0"),
        ];
        let mut auth = Service::auth(&database.url, &settings);
        auth.start_limitable().await;
        let bound = [("RESOURCE__REVOCATION__MAX_STALENESS_SECONDS", bound.as_str())];
        let mut resource = Service::resource(&auth, &bound);
        resource.start().await;
        let ballast = disk.map(|disk| disk.join("ballast"));
        Self { auth: Mutex::new(auth), resource, ballast, database }
    }

    /// Where its services are. Users who go to two auth-services and three resource-services go to
    /// the same each time.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let auth = self.auth.try_lock().expect("nobody else has it yet");
        Stage::new([auth.public.clone(), auth.public.clone()], [&auth; 2], [&self.resource; 3])
    }

    /// What cannot be done here, and why.
    #[must_use]
    pub fn unchecked(&self) -> Option<String> {
        let missing = format!(
            "a full disk under SQLite: {DISK} names no small disk, which `cargo xtask faults` makes as \
             root; files at their limit stood for it"
        );
        self.ballast.is_none().then_some(missing)
    }

    /// What the seed brings.
    #[must_use]
    pub fn lane(&self, seed: u64) -> Lane {
        Lane::small(seed, self.ballast.is_some())
    }

    /// Lets there be no room again and again until the play is over. There is room afterwards.
    pub async fn run(&self, mut lane: Lane, stage: &Stage, court: &Court, counts: &Counts) {
        while !stage.is_over() {
            sleep(lane.long_peace()).await;
            let fault = lane.draw();
            let lasts = fault.lasts(&mut lane.rng);
            let spell =
                stage.weather.begin(Some(Concern::Database), &fault.to_string(), stage.now());
            let felt = match fault {
                Fault::KilledWithoutRoom => {
                    self.killed(lasts).await;
                    true
                }
                Fault::NoRoom(room) => {
                    // As a rule the log has no room of its own left, so that it is noticed at once.
                    if room == Room::Files || lane.rng.u8(..4) > 0 {
                        self.database.shorten_log().await;
                    }
                    let spare = lane.rng.u64(..20_000);
                    self.without_room(room, spare, lasts, stage, court).await
                }
                other => panic!("{other} is not a fault of this installation"),
            };
            stage.weather.end(spell, stage.now());
            // One that no write met was none.
            if felt {
                count(counts, fault);
            }
            serves_again(&*self.auth.lock().await, court, ROOM).await;
        }
    }

    /// Lets there be no room until a number of writes were refused, and then makes some. Says whether
    /// any was.
    async fn without_room(
        &self,
        room: Room,
        spare: u64,
        lasts: Duration,
        stage: &Stage,
        court: &Court,
    ) -> bool {
        let auth = self.auth.lock().await;
        let (begun, mut refused, mut ready_all_the_same) = (Instant::now(), 0, 0);
        match room {
            Room::Disk => self.fill(),
            Room::Files => {
                let log = format!("{}-wal", self.database.url.trim_start_matches("sqlite:"));
                let used = fs::metadata(log).map_or(0, |log| log.len());
                auth.limit_files(Some(used + spare));
            }
        }
        while refused < REFUSALS || begun.elapsed() < lasts {
            if begun.elapsed() > NOTICED_WITHIN || stage.is_over() {
                break;
            }
            if room == Room::Disk {
                // What was given back meanwhile.
                self.fill();
            }
            // Asked between two writes that are refused.
            let ready = asked_ready(&auth).await.is_ok();
            match takes_a_user(&auth).await {
                Some(true) => (refused, ready_all_the_same) = (0, 0),
                Some(false) => {
                    ready_all_the_same =
                        if ready && refused > 0 { ready_all_the_same + 1 } else { 0 };
                    refused += 1;
                }
                None => {}
            }
            if ready_all_the_same > JUST_FIT {
                court.object(Rule::Ready, "it is ready, and there is no room for what it is asked");
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        match room {
            Room::Disk => self.free(),
            Room::Files => auth.limit_files(None),
        }
        refused > 0
    }

    /// The auth-service is killed on a full disk and started again and again, until there is room.
    async fn killed(&self, lasts: Duration) {
        let mut auth = self.auth.lock().await;
        self.fill();
        sleep(lasts / 2).await;
        auth.kill();
        self.fill();
        tokio::join!(revive(&mut auth), async {
            sleep(lasts).await;
            self.free();
        });
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let Some(ballast) = &self.ballast else { return };
        let file = File::options().create(true).append(true).open(ballast);
        let mut file = match file {
            Ok(file) => file,
            // Not even for its name.
            Err(error) if error.kind() == ErrorKind::StorageFull => return,
            Err(error) => panic!("{}: {error}", ballast.display()),
        };
        let much = vec![0; 1 << 20];
        let error = loop {
            if let Err(error) = file.write_all(&much) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    }

    /// Gives it back.
    fn free(&self) {
        if let Some(ballast) = &self.ballast {
            // It may have found no room for itself.
            let _ = fs::remove_file(ballast);
        }
    }

    /// The last question, when the play is over; there is room.
    pub async fn ask(&self, stage: &Arc<Stage>, court: &Court) {
        serves_again(&*self.auth.lock().await, court, ROOM).await;
        sleep(BOUND).await;
        if let Err(because) = ready_again(&self.resource).await {
            court.object(Rule::Heals, &because);
        }
        ask_about_all(stage, court, court.kept()).await;
        let unsound = self.database.number(
            "select count(*) from pragma_integrity_check where \
                                            integrity_check <> 'ok'",
        );
        if unsound.await > 0 {
            court.object(Rule::Heals, "the SQLite file is damaged");
        }
    }
}
