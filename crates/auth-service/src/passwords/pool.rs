//! The threads that hash, and the queue before them.
//!
//! Threads of their own rather than the runtime's, because these lower their priority and keep
//! their memory: a core that is wanted for refreshes and verification is theirs at once.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use argon2::Block;
use hosting::traces::SPANS;
use tokio::sync::oneshot;
use tracing::Span;

use super::{HashingPurpose, Overloaded};
use crate::config::MAX_MEMORY_KIB;

/// What one hash works in. Kept, because fresh memory costs half as much again as the hash.
pub(super) type Arena = Vec<Block>;

/// How many may wait for a thread; more only makes everybody's wait useless.
pub(super) const MAX_WAITING: usize = 64;
/// For the hash, after the wait: a thread of the lowest priority may not get on at all, and the
/// costliest hash that may be imported takes four seconds.
const HASHING: Duration = Duration::from_secs(7);
/// How long a thread keeps its arena without work.
const IDLE: Duration = Duration::from_mins(1);

/// How many hashes of this size may be made at once: one for each core but one, as far as their
/// arenas fit into 128 MiB.
#[must_use]
pub fn permits(memory_kib: u32) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let affordable = (MAX_MEMORY_KIB / memory_kib.max(1)).max(1) as usize;
    cores.saturating_sub(1).clamp(1, affordable)
}

/// The threads. They end when this is dropped and the queue is empty.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    permits: usize,
    max_wait: Duration,
    idle: Duration,
    /// Requests that are somewhere between the door and the end of their hash.
    seated: AtomicUsize,
    queue: Mutex<Queue>,
    news: Condvar,
}

/// Looks itself whether it is still wanted.
type Job = Box<dyn FnOnce(&mut Arena) + Send>;

#[derive(Default)]
struct Queue {
    logins: VecDeque<Job>,
    others: VecDeque<Job>,
    closed: bool,
}

/// One request's permit. Its job holds it too: whoever goes away makes no room for more work.
pub(super) struct Permit {
    shared: Arc<Shared>,
    purpose: HashingPurpose,
    max_wait: Duration,
}

impl Pool {
    /// So many threads, for one of which nobody waits longer than `max_wait`.
    pub(super) fn start(permits: usize, max_wait: Duration) -> io::Result<Self> {
        Self::start_with(permits, max_wait, IDLE)
    }

    fn start_with(permits: usize, max_wait: Duration, idle: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            permits,
            max_wait,
            idle,
            seated: AtomicUsize::new(0),
            queue: Mutex::default(),
            news: Condvar::new(),
        });
        let pool = Self(shared);
        for _ in 0..permits {
            let shared = Arc::clone(&pool.0);
            let thread = thread::Builder::new().name("passwords".to_owned());
            thread.spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// A permit for somebody who has waited for so long already.
    pub(super) fn enter(
        &self,
        purpose: HashingPurpose,
        waited: Duration,
    ) -> Result<Arc<Permit>, Overloaded> {
        let waiting = match purpose {
            HashingPurpose::Login => MAX_WAITING,
            HashingPurpose::Registration => MAX_WAITING / 4,
            HashingPurpose::Renewal => 0,
        };
        let most = self.0.permits + waiting;
        let seated = self.0.seated.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seated| {
            (seated < most).then_some(seated + 1)
        });
        if seated.is_err() {
            refused(purpose, "full");
            return Err(Overloaded);
        }
        let max_wait = self.0.max_wait.saturating_sub(waited);
        Ok(Arc::new(Permit { shared: Arc::clone(&self.0), purpose, max_wait }))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.news.notify_all();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("permits", &self.0.permits).finish_non_exhaustive()
    }
}

impl Permit {
    /// Runs `work` on one of the threads, unless that takes too long to come about.
    ///
    /// # Panics
    /// When `work` does; the thread goes on.
    pub(super) async fn run<T, F>(self: &Arc<Self>, work: F) -> Result<T, Overloaded>
    where
        T: Send + 'static,
        F: FnOnce(&mut Arena) -> T + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let (permit, deadline) = (Arc::clone(self), Instant::now() + self.max_wait);
        let request = Span::current();
        let waiting = tracing::info_span!(target: SPANS, "wait for a password thread");
        let job = move |arena: &mut Arena| {
            drop(waiting);
            if answer.is_closed() || Instant::now() > deadline {
                return;
            }
            let span = tracing::info_span!(target: SPANS, parent: &request, "password hash");
            let result = span.in_scope(|| catch_unwind(AssertUnwindSafe(|| work(arena))));
            drop((span, request));
            if result.is_err() {
                *arena = Arena::default();
            }
            // First, so that whoever hears the answer finds the permit free.
            drop(permit);
            let _ = answer.send(result);
        };
        self.shared.push(self.purpose, Box::new(job));
        match tokio::time::timeout(self.max_wait + HASHING, answered).await {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(panic))) => resume_unwind(panic),
            Ok(Err(_)) | Err(_) => {
                refused(self.purpose, "late");
                Err(Overloaded)
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.seated.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.purpose).finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, purpose: HashingPurpose, job: Job) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        match purpose {
            HashingPurpose::Login => queue.logins.push_back(job),
            HashingPurpose::Registration | HashingPurpose::Renewal => queue.others.push_back(job),
        }
        drop(queue);
        self.news.notify_one();
    }

    fn work(&self) {
        lower_priority();
        let mut arena = Arena::default();
        while let Some(job) = self.next(&mut arena) {
            job(&mut arena);
        }
    }

    /// Waits for a job, and gives the arena back when that takes long. `None`: there will be none.
    fn next(&self, arena: &mut Arena) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(login) = queue.logins.pop_front() {
                return Some(login);
            }
            if let Some(other) = queue.others.pop_front() {
                return Some(other);
            }
            if queue.closed {
                return None;
            }
            if arena.is_empty() {
                queue = self.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
            } else {
                let waited = self.news.wait_timeout(queue, self.idle);
                let (now, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                queue = now;
                if waited.timed_out() {
                    *arena = Arena::default();
                }
            }
        }
    }
}

/// The lowest there is: hashing takes what nobody else wants. On Linux a priority belongs to a
/// thread; elsewhere it would be the whole process's.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::debug!(%error, "the priority of hashing could not be lowered");
    }
}

fn refused(purpose: HashingPurpose, why: &'static str) {
    let purpose = match purpose {
        HashingPurpose::Login => "login",
        HashingPurpose::Registration => "registration",
        HashingPurpose::Renewal => "renewal",
    };
    metrics::counter!("latchkey_passwords_refused_total", "purpose" => purpose, "why" => why)
        .increment(1);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::future::join_all;

    use super::*;

    /// Longer than a busy machine takes to run a thread of the lowest priority.
    const LONG: Duration = Duration::from_mins(1);

    /// Occupies the only thread until the sender is used or dropped.
    async fn occupy(pool: &Pool) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
        let (release, released) = mpsc::channel::<()>();
        let (started, begun) = oneshot::channel();
        let permit = pool.enter(HashingPurpose::Login, Duration::ZERO).unwrap();
        let task = tokio::spawn(async move {
            let work = move |_: &mut Arena| {
                started.send(()).unwrap();
                let _ = released.recv();
            };
            permit.run(work).await.unwrap();
        });
        begun.await.unwrap();
        (release, task)
    }

    /// The thread gives the permit up after the answer.
    async fn until_nobody_is_seated(pool: &Pool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while seated(pool) > 0 {
            assert!(Instant::now() < deadline, "a permit is still taken");
            tokio::task::yield_now().await;
        }
    }

    fn seated(pool: &Pool) -> usize {
        pool.0.seated.load(Ordering::Relaxed)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_than_the_permits_are_at_work_also_when_everybody_goes_away() {
        let pool = Pool::start(2, LONG).unwrap();
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..50 {
            let permit = pool.enter(HashingPurpose::Login, Duration::ZERO).unwrap();
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            let work = move |_: &mut Arena| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(5));
                now.fetch_sub(1, Ordering::SeqCst);
            };
            let _ = tokio::time::timeout(Duration::from_millis(1), permit.run(work)).await;
        }
        let last = pool.enter(HashingPurpose::Login, Duration::ZERO).unwrap();
        last.run(|_| ()).await.unwrap();
        assert!(most.load(Ordering::SeqCst) <= 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_goes_away_makes_no_room_until_their_work_is_thrown_away() {
        let pool = Pool::start(1, LONG).unwrap();
        let (release, busy) = occupy(&pool).await;
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            let (permit, done) =
                (pool.enter(HashingPurpose::Login, Duration::ZERO).unwrap(), Arc::clone(&done));
            let work = move |_: &mut Arena| done.fetch_add(1, Ordering::SeqCst);
            let _ = tokio::time::timeout(Duration::from_millis(1), permit.run(work)).await;
        }
        assert_eq!(seated(&pool), 11);
        drop(release);
        busy.await.unwrap();
        pool.enter(HashingPurpose::Login, Duration::ZERO).unwrap().run(|_| ()).await.unwrap();
        assert_eq!(
            (seated(&pool), done.load(Ordering::SeqCst)),
            (0, 0),
            "nothing was done for them"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn registration_is_refused_before_login() {
        let pool = Pool::start(1, LONG).unwrap();
        let mut permits = Vec::new();
        permits.extend(pool.enter(HashingPurpose::Renewal, Duration::ZERO));
        assert_eq!(permits.len(), 1);
        assert!(
            pool.enter(HashingPurpose::Renewal, Duration::ZERO).is_err(),
            "the thread is wanted"
        );
        permits.extend(
            (0..MAX_WAITING / 4)
                .map(|_| pool.enter(HashingPurpose::Registration, Duration::ZERO).unwrap()),
        );
        assert!(pool.enter(HashingPurpose::Registration, Duration::ZERO).is_err());
        permits.extend(
            (0..MAX_WAITING * 3 / 4)
                .map(|_| pool.enter(HashingPurpose::Login, Duration::ZERO).unwrap()),
        );
        assert!(pool.enter(HashingPurpose::Login, Duration::ZERO).is_err());
        drop(permits.pop());
        assert!(pool.enter(HashingPurpose::Registration, Duration::ZERO).is_err());
        assert!(pool.enter(HashingPurpose::Login, Duration::ZERO).is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn logins_are_served_first() {
        let pool = Pool::start(1, LONG).unwrap();
        let (release, busy) = occupy(&pool).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let purposes = [
            HashingPurpose::Registration,
            HashingPurpose::Login,
            HashingPurpose::Registration,
            HashingPurpose::Login,
        ];
        let jobs = purposes.map(|purpose| {
            let (permit, order) =
                (pool.enter(purpose, Duration::ZERO).unwrap(), Arc::clone(&order));
            async move { permit.run(move |_| order.lock().unwrap().push(purpose)).await }
        });
        let jobs = tokio::spawn(join_all(jobs));
        while pool.0.lock().others.len() < 2 || pool.0.lock().logins.len() < 2 {
            tokio::task::yield_now().await;
        }
        drop(release);
        busy.await.unwrap();
        assert!(jobs.await.unwrap().iter().all(Result::is_ok));
        let expected = [
            HashingPurpose::Login,
            HashingPurpose::Login,
            HashingPurpose::Registration,
            HashingPurpose::Registration,
        ];
        assert_eq!(*order.lock().unwrap(), expected);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_is_its_askers_and_the_thread_goes_on() {
        let pool = Pool::start(1, LONG).unwrap();
        let permit = pool.enter(HashingPurpose::Login, Duration::ZERO).unwrap();
        let asker = tokio::spawn(async move { permit.run(|_| panic!("on purpose")).await });
        let failed: Result<Result<(), Overloaded>, _> = asker.await;
        assert!(failed.unwrap_err().is_panic());
        assert_eq!(
            pool.enter(HashingPurpose::Login, Duration::ZERO).unwrap().run(|_| 7).await,
            Ok(7)
        );
        until_nobody_is_seated(&pool).await;
    }

    #[tokio::test]
    async fn an_arena_is_kept_while_there_is_work_and_given_back_after_it() {
        let pool = Pool::start_with(1, LONG, Duration::from_secs(2)).unwrap();
        let blocks = async |make: usize| {
            let permit = pool.enter(HashingPurpose::Login, Duration::ZERO).unwrap();
            let work = move |arena: &mut Arena| {
                let found = arena.len();
                arena.resize(make, Block::new());
                found
            };
            permit.run(work).await.unwrap()
        };
        assert_eq!(blocks(8).await, 0, "none before the first hash");
        assert_eq!(blocks(8).await, 8);
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(blocks(8).await, 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_waited_too_long_is_refused_and_nothing_is_done() {
        let max_wait = Duration::from_millis(500);
        let pool = Pool::start(1, max_wait).unwrap();
        let (release, busy) = occupy(&pool).await;
        let late = pool.enter(HashingPurpose::Login, Duration::ZERO).unwrap();
        let late = tokio::spawn(async move { late.run(|_| ()).await });
        while pool.0.lock().logins.is_empty() {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(max_wait * 2).await;
        drop(release);
        busy.await.unwrap();
        assert_eq!(late.await.unwrap(), Err(Overloaded));
        until_nobody_is_seated(&pool).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_has_waited_elsewhere_waits_as_much_less_here() {
        let pool = Pool::start(1, LONG).unwrap();
        let (release, busy) = occupy(&pool).await;
        let permit = pool.enter(HashingPurpose::Login, LONG).unwrap();
        let late = tokio::spawn(async move { permit.run(|_| ()).await });
        while pool.0.lock().logins.is_empty() {
            tokio::task::yield_now().await;
        }
        drop(release);
        busy.await.unwrap();
        assert_eq!(late.await.unwrap(), Err(Overloaded));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn hashing_has_the_lowest_priority_and_nothing_else_has() {
        let pool = Pool::start(1, LONG).unwrap();
        let mine = || rustix::process::getpriority_process(None).unwrap();
        let theirs = pool
            .enter(HashingPurpose::Login, Duration::ZERO)
            .unwrap()
            .run(move |_| mine())
            .await
            .unwrap();
        assert_eq!(theirs, 19);
        assert!(mine() < 19);
    }
}
