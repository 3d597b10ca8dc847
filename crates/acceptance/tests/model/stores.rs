//! The stores against the rule: random sequences of operations, answer by answer.
//!
//! The first hundred sequences are the same in every run. `PROPTEST_CASES` plays more and
//! `PROPTEST_RNG_SEED` others.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use crate::rule::{self, Answer, Caller, Ends, Limits, Operation, Reason, Row, State};
use auth_service::config::SessionLimits;
use auth_service::identity::amr::Method;
use auth_service::identity::names::{self, NameKey};
use auth_service::store::{
    self, EndReason, Grant, NewPassword, NewSession, NewUser, OtherSessions, Presented, Removal,
    Requester, RotationOutcome, Store, StoreError, Target,
};
use claims::{SessionId, Timestamp, UserId};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use sqlx::{PgPool, SqlitePool, query};
use testbed::{Database, Kind, World};
use uuid::Uuid;

const CASES: u32 = 100;
const SEED: u64 = 1;
/// Time passes in whole minutes, and every limit is half a minute off: the milliseconds that a test
/// takes cannot carry it over a limit.
const MINUTE: i64 = 60;
const HALF: i64 = MINUTE / 2;
const WINDOWS: [i64; 3] = [0, MINUTE + HALF, 3 * MINUTE + HALF];
const IDLE: i64 = 10 * MINUTE + HALF;
const ABSOLUTE: i64 = 30 * MINUTE + HALF;

/// An operation; a generation in it is meant relative to the current one.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    operation: Operation,
    ahead: i64,
}

impl Drawn {
    fn aimed(self, state: &State) -> Operation {
        let aim = |session: usize| {
            let current = state.sessions.get(session).map_or(1, |found| found.row.generation);
            u32::try_from((i64::from(current) + self.ahead).max(1)).expect("generations are few")
        };
        let by = |caller: Caller| Caller {
            generation: caller.generation.map(|_| aim(caller.session)),
            ..caller
        };
        match self.operation {
            Operation::Refresh { session, .. } => {
                Operation::Refresh { session, generation: aim(session) }
            }
            Operation::Remove(caller, target) => Operation::Remove(by(caller), target),
            Operation::EndOthers(caller) => Operation::EndOthers(by(caller)),
            Operation::EndAll(caller) => Operation::EndAll(by(caller)),
            other => other,
        }
    }
}

fn operations() -> impl Strategy<Value = Vec<Drawn>> {
    let session = 0..4_usize;
    let caller = || {
        let generation = prop_oneof![Just(None), Just(Some(0))];
        (0..4_usize, generation).prop_map(|(session, generation)| Caller { session, generation })
    };
    let reason = prop_oneof![Just(Reason::Logout), Just(Reason::Admin)];
    let ends = prop_oneof![Just(Ends::Others), Just(Ends::All), Just(Ends::None)];
    let minutes = prop_oneof![4 => Just(1), 3 => Just(2), 2 => Just(4), 1 => Just(11)];
    let operation = prop_oneof![
        4 => proptest::option::of(session.clone())
            .prop_map(|replaces| Operation::Open { replaces }),
        40 => prop_oneof![3 => 0..2_usize, 1 => session.clone()]
            .prop_map(|session| Operation::Refresh { session, generation: 0 }),
        1 => (session.clone(), reason).prop_map(|(session, why)| Operation::End(session, why)),
        2 => (caller(), session.clone()).prop_map(|(by, target)| Operation::Remove(by, target)),
        1 => caller().prop_map(Operation::EndOthers),
        1 => caller().prop_map(Operation::EndAll),
        1 => (session.clone(), ends).prop_map(|(by, ends)| Operation::ChangePassword(by, ends)),
        1 => Just(Operation::Disable),
        2 => Just(Operation::Enable),
        10 => minutes.prop_map(|minutes| Operation::Advance(minutes * MINUTE)),
        4 => session.prop_map(Operation::ForgetRotation),
    ];
    let ahead =
        prop_oneof![10 => Just(0_i64), 6 => Just(-1), 1 => Just(-2), 2 => Just(1), 1 => Just(2)];
    let drawn = (operation, ahead).prop_map(|(operation, ahead)| Drawn { operation, ahead });
    proptest::collection::vec(drawn, 0..60)
}

/// A second way into the database, to make it forget.
enum Direct {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl Direct {
    async fn to(database: &Database) -> Self {
        match database.kind() {
            Kind::Postgres => Self::Postgres(database.postgres().await),
            Kind::Sqlite => Self::Sqlite(database.sqlite().await),
        }
    }

    async fn write(&self, session: SessionId, generation: u32, rotated: Option<i64>, idle: i64) {
        let sql = "update sessions set generation = $2, rotated_at = $3, idle_expires_at = $4 \
                   where id = $1";
        let (id, generation) = (session.to_string(), i64::from(generation));
        match self {
            Self::Postgres(pool) => {
                let query = query(sql).bind(id).bind(generation).bind(rotated).bind(idle);
                query.execute(pool).await.map(|_| ())
            }
            Self::Sqlite(pool) => {
                let query = query(sql).bind(id).bind(generation).bind(rotated).bind(idle);
                query.execute(pool).await.map(|_| ())
            }
        }
        .expect("the statement is right");
    }
}

/// One user in a store, and what the rule's numbers are called there.
struct Actual<'a> {
    world: &'a World,
    direct: &'a Direct,
    limits: Limits,
    user: UserId,
    name: NameKey,
    registered: Timestamp,
    opened: Vec<Grant>,
}

impl<'a> Actual<'a> {
    async fn new(world: &'a World, direct: &'a Direct, limits: Limits) -> Self {
        let username = format!("u{}", &Uuid::new_v4().simple().to_string()[..20]);
        let name = names::username(&username).expect("the name is good");
        let new = NewUser {
            username: Some((username, name.clone())),
            email: None,
            password_hash: "hash".to_owned(),
            roles: Vec::new(),
        };
        let user = world.store.create_user(new).await.expect("the store answers");
        let user = user.expect("the name is new");
        let (user, registered) = (user.id, user.created_at);
        Self { world, direct, limits, user, name, registered, opened: Vec::new() }
    }

    fn store(&self) -> &Store {
        &self.world.store
    }

    /// A session that never was has an id as well.
    fn id(&self, session: usize) -> SessionId {
        let never = || SessionId::from_bytes(*Uuid::new_v4().as_bytes());
        self.opened.get(session).map_or_else(never, |grant| grant.session_id)
    }

    /// To the half minute: the test itself takes time.
    fn seconds(&self, time: Timestamp) -> i64 {
        let half_ms = HALF * 1000;
        (time.0 - self.registered.0 + half_ms / 2).div_euclid(half_ms) * HALF
    }

    fn time(&self, seconds: i64) -> i64 {
        self.registered.0 + seconds * 1000
    }

    fn limits(&self) -> SessionLimits {
        let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
        SessionLimits {
            idle: seconds(self.limits.idle),
            absolute: seconds(self.limits.absolute),
            grace: seconds(self.limits.window),
        }
    }

    fn caller(&self, caller: Caller) -> store::Caller {
        let Caller { session, generation } = caller;
        let grace = self.limits().grace;
        store::Caller { session: self.id(session), user: None, generation, grace }
    }

    /// What the rule says of a grant, after a look at what it does not.
    fn grant(&self, grant: &Grant) -> rule::Grant {
        if let Some(first) = self.opened.iter().find(|one| one.session_id == grant.session_id) {
            let constant = |grant: &Grant| (grant.expires_at, grant.subject_version);
            assert_eq!(constant(first), constant(grant), "what no refresh changes");
        }
        rule::Grant {
            generation: grant.generation,
            idle_end: self.seconds(grant.idle_expires_at),
            absolute_end: self.seconds(grant.expires_at),
        }
    }

    /// Does it, and says what came of it in the words of the rule.
    async fn perform(&mut self, operation: Operation, next: &State) -> Result<Answer, StoreError> {
        let done = |happened| if happened { Answer::Done } else { Answer::Refused };
        match operation {
            Operation::Open { replaces } => return self.open(replaces).await,
            Operation::Refresh { session, generation } => {
                return self.refresh(session, generation).await;
            }
            Operation::End(session, Reason::Admin) => {
                self.store().end_session(self.id(session), EndReason::Admin).await?;
            }
            Operation::End(session, _) => {
                self.store().end_each(vec![self.id(session)], EndReason::Logout).await?;
            }
            Operation::Remove(caller, target) => {
                let removal = self.store().remove_session(self.caller(caller), self.id(target));
                return Ok(match removal.await? {
                    Removal::Ended => Answer::Done,
                    Removal::NotFound => Answer::NotFound,
                    Removal::CallerEnded => Answer::Refused,
                });
            }
            Operation::EndOthers(caller) => {
                return Ok(done(self.store().end_other_sessions(self.caller(caller)).await?));
            }
            Operation::EndAll(caller) => {
                return Ok(done(self.store().end_all_sessions(self.caller(caller)).await?));
            }
            Operation::ChangePassword(session, ends) => {
                return Ok(done(self.change_password(session, ends).await?));
            }
            Operation::Disable => {
                self.store().set_enabled(self.user, false).await?;
            }
            Operation::Enable => {
                self.store().set_enabled(self.user, true).await?;
            }
            Operation::Advance(seconds) => self.world.clock.advance(seconds),
            Operation::ForgetRotation(session) => {
                if let Some(found) = next.sessions.get(session) {
                    let Row { generation, rotated_at, idle_end } = found.row;
                    let rotated = rotated_at.map(|at| self.time(at));
                    let idle = self.time(idle_end);
                    self.direct.write(self.id(session), generation, rotated, idle).await;
                }
            }
        }
        Ok(Answer::Done)
    }

    async fn open(&mut self, replaces: Option<usize>) -> Result<Answer, StoreError> {
        let credentials = self.store().credentials(self.name.clone()).await?;
        let credentials = credentials.expect("the user is there");
        let new = NewSession {
            id: SessionId::from_bytes(*Uuid::new_v4().as_bytes()),
            user: credentials.user,
            versions: credentials.versions(),
            client_id: "web".parse().expect("a good id"),
            scope: "profile".parse().expect("a good scope"),
            audience: None,
            limits: self.limits(),
            amr: Method::Password.into(),
            auth_time: None,
            device: None,
            requester: Requester::default(),
            replaces: replaces.map(|session| self.id(session)),
            max_sessions: 0,
        };
        let Some(grant) = self.store().open_session(new).await? else {
            return Ok(Answer::Refused);
        };
        let answer = Answer::Granted(self.grant(&grant));
        self.opened.push(grant);
        Ok(answer)
    }

    async fn refresh(&self, session: usize, generation: u32) -> Result<Answer, StoreError> {
        let presented = Presented {
            session: self.id(session),
            client_id: "web".parse().expect("a good id"),
            generation,
            target: Target::Any(vec!["https://a.example".to_owned()]),
            requester: Requester::default(),
            limits: self.limits(),
        };
        Ok(match self.store().rotate(presented).await? {
            RotationOutcome::Rotated(grant) => Answer::Granted(self.grant(&grant)),
            RotationOutcome::Repeated { grant, .. } => Answer::Repeated(self.grant(&grant)),
            RotationOutcome::FastForwarded(grant) => Answer::FastForwarded(self.grant(&grant)),
            RotationOutcome::Reused(_) => Answer::Reused,
            RotationOutcome::Unknown => Answer::Unknown,
            RotationOutcome::Expired => Answer::Expired,
            RotationOutcome::Ended(reason) => Answer::Ended(match reason {
                EndReason::Logout => Reason::Logout,
                EndReason::Password => Reason::Password,
                EndReason::Admin => Reason::Admin,
                EndReason::Disabled => Reason::Disabled,
                EndReason::Reuse => Reason::Reuse,
                EndReason::Limit => unreachable!("there is no limit"),
            }),
            RotationOutcome::TooFarAhead => Answer::TooFarAhead,
            RotationOutcome::NotForTarget => unreachable!("the sessions are for all services"),
        })
    }

    async fn change_password(&self, session: usize, ends: Ends) -> Result<bool, StoreError> {
        let credentials = self.store().credentials_of(self.user).await?;
        let change = NewPassword {
            session: self.id(session),
            user: self.user,
            password_version: credentials.expect("the user is there").password_version,
            password_hash: "hash".to_owned(),
            sessions: match ends {
                Ends::Others => OtherSessions::Others,
                Ends::All => OtherSessions::All,
                Ends::None => OtherSessions::None,
            },
        };
        self.store().change_password(change).await
    }

    /// The sessions that are live, as any of them is told.
    async fn live(&self) -> Result<HashSet<SessionId>, StoreError> {
        for session in 0..self.opened.len() {
            let caller = self.caller(Caller { session, generation: None });
            if let Some(page) = self.store().list_sessions(caller, None).await? {
                return Ok(page.sessions.into_iter().map(|view| view.id).collect());
            }
        }
        Ok(HashSet::new())
    }
}

type Seen = Mutex<BTreeMap<String, u32>>;

async fn play(
    world: &World,
    direct: &Direct,
    (window, drawn): (i64, Vec<Drawn>),
    seen: &Seen,
) -> Result<(), TestCaseError> {
    let limits = Limits { window, idle: IDLE, absolute: ABSOLUTE };
    let mut actual = Actual::new(world, direct, limits).await;
    let mut state = State::default();
    let open = Drawn { operation: Operation::Open { replaces: None }, ahead: 0 };
    for (step, drawn) in [open, open].into_iter().chain(drawn).enumerate() {
        let operation = drawn.aimed(&state);
        let (next, expected) = rule::apply(limits, &state, operation);
        let told = actual.perform(operation, &next).await;
        let told = told.map_err(|error| {
            TestCaseError::fail(format!("step {step}, {operation:?} in {state:?}: {error}"))
        })?;
        prop_assert_eq!(expected, told, "step {}, {:?} in {:?}", step, operation, state);
        let live = (0..next.sessions.len()).filter(|session| next.is_live(*session));
        let live: HashSet<_> = live.map(|session| actual.id(session)).collect();
        let listed = actual.live().await.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(live, listed, "live after step {}, {:?} in {:?}", step, operation, state);
        state = next;
        let name = format!("{expected:?}");
        let name = name.split(['(', ' ']).next().unwrap_or_default().to_owned();
        *seen.lock().expect("no panic holds it").entry(name).or_default() += 1;
    }
    Ok(())
}

fn the_store_follows_the_rule(kind: Kind) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let (world, direct) = runtime.block_on(async {
        let world = World::start(kind).await;
        let direct = Direct::to(&world.database).await;
        (world, direct)
    });
    let mut config =
        Config { failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    if matches!(config.rng_seed, RngSeed::Random) {
        config.rng_seed = RngSeed::Fixed(SEED);
    }
    let (cases, seed) = (config.cases, config.rng_seed);
    let answers = Seen::default();
    let result = TestRunner::new(config)
        .run(&(proptest::sample::select(WINDOWS.to_vec()), operations()), |case| {
            runtime.block_on(play(&world, &direct, case, &answers))
        });
    let answers = answers.into_inner().expect("no panic holds it");
    println!("{kind:?}: {cases} sequences, {seed:?}: {answers:?}");
    if let Err(error) = result {
        panic!("{kind:?}, {seed:?}: {error}");
    }
    assert!(cases < CASES || answers.len() == 11, "every answer was given");
}

#[test]
fn on_postgres_the_store_follows_the_rule() {
    the_store_follows_the_rule(Kind::Postgres);
}

#[test]
fn on_sqlite_the_store_follows_the_rule() {
    the_store_follows_the_rule(Kind::Sqlite);
}
