//! What goes wrong, and when: a plan drawn from the seed.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// The ends of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ends {
    /// An auth-service and Postgres.
    Database,
    /// An auth-service and Redis.
    Redis,
    /// Clients and an auth-service.
    Clients,
    /// A resource-service and both feeds.
    Feeds,
    /// A resource-service and the key set.
    Keys,
}

/// How a link fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Slow,
    /// Connections are reset, and refused.
    Cut,
    /// Nothing arrives until it heals.
    Held,
    /// Connections die without a word.
    Mute,
    /// Connections are reset, several times.
    Reset,
    /// Requests arrive, and replies do not.
    Swallowed,
    /// Replies are almost too late, and then nothing arrives: old news, and nothing after it.
    Late,
}

/// What can be killed or paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Auth,
    Resource,
    Postgres,
    /// One process of it.
    Backend,
    Redis,
}

/// What there is no room in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// The disk: nothing more can be stored on it.
    Disk,
    /// Files: none may become longer.
    Files,
}

/// How the primary of two Postgres servers goes before the standby takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Takeover {
    /// It is stopped in good order; the address leads to a standby that is promoted later.
    Stopped,
    Killed,
    /// Its host dies: connections to it stay open and nothing comes from them.
    Silent,
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Link(Ends, Way),
    /// A process is ended (SIGKILL), and started again after a moment.
    Kill(Part),
    /// A process is without the processor for a while (SIGSTOP).
    Pause(Part),
    /// A resource-service is without the processor for longer than its knowledge keeps.
    PauseBeyondBound,
    /// Somebody at the database holds rows of new sessions.
    Lock,
    Flush,
    /// Redis has no room.
    Full,
    /// An auth-service is without its database for longer than the knowledge of those who follow it
    /// keeps.
    Alone,
    /// The database gives new connections other defaults, and ends old ones.
    Defaults,
    /// Very many connections bring a part of a request each.
    HalfRequests,
    /// An auth-service runs with a clock that is months ahead, where nobody reaches it.
    ClockAhead,
    /// SQLite has no room to write.
    NoRoom(Room),
    /// The disk of a SQLite database is full, and its auth-service is killed and started on it.
    KilledWithoutRoom,
    /// The primary is gone, and the standby takes over.
    Failover(Takeover),
    /// The address of the primary leads to the standby, and back; connections to the standby stay.
    OnStandby,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(ends, way) => write!(f, "{ends:?} link {way:?}"),
            Self::Kill(part) => write!(f, "{part:?} killed"),
            Self::Pause(part) => write!(f, "{part:?} paused"),
            Self::PauseBeyondBound => f.write_str("Resource paused beyond the bound"),
            Self::Lock => f.write_str("Rows locked"),
            Self::Flush => f.write_str("Redis flushed"),
            Self::Full => f.write_str("Redis full"),
            Self::Alone => f.write_str("Replica without its database"),
            Self::Defaults => f.write_str("Session defaults changed"),
            Self::HalfRequests => f.write_str("Half requests"),
            Self::ClockAhead => f.write_str("Clock ahead"),
            Self::NoRoom(Room::Disk) => f.write_str("SQLite disk full"),
            Self::NoRoom(Room::Files) => f.write_str("SQLite files at their limit"),
            Self::KilledWithoutRoom => f.write_str("SQLite disk full, Auth killed"),
            Self::Failover(takeover) => write!(f, "Failover, primary {takeover:?}"),
            Self::OnStandby => f.write_str("Connections to a standby"),
        }
    }
}

impl Fault {
    /// How long it lasts.
    #[must_use]
    pub fn lasts(self, rng: &mut Rng) -> Duration {
        let milliseconds = match self {
            Self::Link(_, Way::Slow) => 1500..3500,
            Self::Link(_, Way::Late) => 1200..2200,
            Self::PauseBeyondBound => 2300..4000,
            Self::Alone => 7500..9500,
            Self::Lock => 2500..3500,
            Self::Kill(_) | Self::Flush => 100..800,
            Self::Link(_, Way::Held | Way::Mute) => 300..4000,
            Self::NoRoom(_) | Self::KilledWithoutRoom => 500..3000,
            // Whoever is to promote a standby must first be certain that the primary is gone. A
            // statement that is under way on a connection that fell silent is given up after nine
            // seconds, and keeps its place in the pool until then.
            Self::Failover(Takeover::Silent) => 5000..6500,
            _ => 200..2000,
        };
        Duration::from_millis(rng.u64(milliseconds))
    }
}

/// Faults that come one after the other; those of different lanes overlap.
#[derive(Debug)]
pub struct Lane {
    kinds: &'static Kinds,
    left: Vec<Fault>,
    drawn: usize,
    /// Where everything about this lane is drawn from.
    pub rng: Rng,
}

#[derive(Debug)]
struct Kinds {
    /// What comes again and again, in this order: without it something could go unnoticed for long.
    often: &'static [Fault],
    /// What comes in between, each once before any comes again.
    others: &'static [Fault],
}

impl Lane {
    /// The lanes: below the auth-services, the auth-services themselves, and beyond them.
    #[must_use]
    pub fn all(seed: u64) -> [Self; 3] {
        let lane = |kinds, number: u64| {
            let rng = Rng::with_seed(seed.wrapping_mul(31).wrapping_add(number));
            Self { kinds, left: Vec::new(), drawn: 0, rng }
        };
        [lane(&BELOW, 1), lane(&AUTHS, 2), lane(&BEYOND, 3)]
    }

    /// The lane of the installation on SQLite, whose disk can be filled or not.
    #[must_use]
    pub fn small(seed: u64, can_fill: bool) -> Self {
        let rng = Rng::with_seed(seed.wrapping_mul(31).wrapping_add(4));
        let kinds = if can_fill { &SMALL } else { &SMALL_WITHOUT_DISK };
        Self { kinds, left: Vec::new(), drawn: 0, rng }
    }

    /// The lane of the installation with two Postgres servers.
    #[must_use]
    pub fn pair(seed: u64) -> Self {
        let rng = Rng::with_seed(seed.wrapping_mul(31).wrapping_add(5));
        Self { kinds: &PAIR, left: Vec::new(), drawn: 0, rng }
    }

    /// Whatever this lane brings.
    pub fn kinds(&self) -> impl Iterator<Item = Fault> {
        self.kinds.often.iter().chain(self.kinds.others).copied()
    }

    /// What comes next.
    ///
    /// # Panics
    /// Never: no lane is without kinds.
    pub fn draw(&mut self) -> Fault {
        self.drawn += 1;
        if self.drawn.is_multiple_of(3) {
            let often = self.kinds.often;
            return often[self.drawn / 3 % often.len()];
        }
        if self.left.is_empty() {
            self.left = self.kinds.others.to_vec();
            self.rng.shuffle(&mut self.left);
        }
        self.left.pop().expect("a lane has kinds")
    }

    /// How long all is well before it where it is also judged how it is afterwards.
    pub fn long_peace(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(1000..7000))
    }

    /// How long all is well before it.
    pub fn peace(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(300..1500))
    }
}

/// Where rows are locked, numbers drawn early are committed late; what is lost when connections die
/// without a word is missed only when there is little left.
const BELOW: Kinds = Kinds {
    often: &[Fault::Lock, Fault::Link(Ends::Database, Way::Mute)],
    others: &[
        Fault::Defaults,
        Fault::Link(Ends::Database, Way::Slow),
        Fault::Link(Ends::Database, Way::Slow),
        Fault::Link(Ends::Database, Way::Cut),
        Fault::Link(Ends::Database, Way::Held),
        Fault::Link(Ends::Database, Way::Reset),
        Fault::Link(Ends::Database, Way::Swallowed),
        Fault::Kill(Part::Postgres),
        Fault::Pause(Part::Postgres),
        Fault::Pause(Part::Backend),
        Fault::Pause(Part::Backend),
    ],
};

/// Under a slow database, a client that goes away hits every line of a handler. Whoever follows a replica
/// that is alone must find the other one.
const AUTHS: Kinds = Kinds {
    often: &[
        Fault::Link(Ends::Clients, Way::Swallowed),
        Fault::Link(Ends::Database, Way::Slow),
        Fault::Alone,
    ],
    others: &[
        Fault::Link(Ends::Clients, Way::Slow),
        Fault::Link(Ends::Clients, Way::Cut),
        Fault::Link(Ends::Clients, Way::Held),
        Fault::Link(Ends::Clients, Way::Mute),
        Fault::Link(Ends::Clients, Way::Reset),
        Fault::Kill(Part::Auth),
        Fault::Kill(Part::Auth),
        Fault::Pause(Part::Auth),
        Fault::ClockAhead,
        Fault::HalfRequests,
    ],
};

/// Old news and nothing after it is what a wrong age shows itself by.
const BEYOND: Kinds = Kinds {
    often: &[Fault::Link(Ends::Feeds, Way::Late)],
    others: &[
        Fault::Link(Ends::Feeds, Way::Slow),
        Fault::Link(Ends::Feeds, Way::Cut),
        Fault::Link(Ends::Feeds, Way::Held),
        Fault::Link(Ends::Feeds, Way::Mute),
        Fault::Link(Ends::Feeds, Way::Reset),
        Fault::Link(Ends::Feeds, Way::Swallowed),
        Fault::Link(Ends::Keys, Way::Cut),
        Fault::Link(Ends::Redis, Way::Cut),
        Fault::Link(Ends::Redis, Way::Held),
        Fault::Link(Ends::Redis, Way::Mute),
        Fault::Kill(Part::Resource),
        Fault::Pause(Part::Resource),
        Fault::PauseBeyondBound,
        Fault::Kill(Part::Redis),
        Fault::Pause(Part::Redis),
        Fault::Flush,
        Fault::Full,
    ],
};

const SMALL: Kinds = Kinds {
    often: &[Fault::NoRoom(Room::Disk)],
    others: &[Fault::NoRoom(Room::Disk), Fault::NoRoom(Room::Files), Fault::KilledWithoutRoom],
};

const PAIR: Kinds = Kinds {
    often: &[Fault::Failover(Takeover::Silent)],
    others: &[
        Fault::Failover(Takeover::Stopped),
        Fault::Failover(Takeover::Killed),
        Fault::OnStandby,
    ],
};

/// A limit for files needs no rights.
const SMALL_WITHOUT_DISK: Kinds =
    Kinds { often: &[Fault::NoRoom(Room::Files)], others: &[Fault::NoRoom(Room::Files)] };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_makes_the_plan_and_every_kind_comes() {
        let plan = |seed| {
            let [mut lane, _, _] = Lane::all(seed);
            (0..2 * BELOW.others.len()).map(|_| lane.draw()).collect::<Vec<_>>()
        };
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
        for kind in BELOW.often.iter().chain(BELOW.others) {
            assert!(plan(7).contains(kind), "{kind}");
        }
    }
}
