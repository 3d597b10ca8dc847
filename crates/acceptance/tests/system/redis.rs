//! Redis: what it is good for, and that nothing depends on it.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::AsyncTypedCommands as _;
use testbed::link::Mode;
use testbed::process::command;
use testbed::service::{assert_one_clear_line, run, until};
use testbed::{Answer, Database, Kind, Link, Redis, Service, Tokens};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Two auth-services on one Postgres and one Redis, and a resource-service that follows the second.
struct Site {
    redis: Redis,
    replicas: [Service; 2],
    resource: Service,
    _database: Database,
}

impl Site {
    async fn start(redis: Redis, redis_url: &str) -> Self {
        let database = Database::create(Kind::Postgres).await;
        let settings = [("AUTH__REDIS__URL", redis_url)];
        let mut replicas = [(); 2].map(|()| Service::auth(&database.url, &settings));
        for replica in &mut replicas {
            replica.start().await;
        }
        let mut resource = Service::resource(&replicas[1], &[]);
        resource.start().await;
        Self { redis, replicas, resource, _database: database }
    }

    async fn up(&self, task: &str, wanted: bool) {
        let line = format!("latchkey_redis_up{{task=\"{task}\"}} {}", u8::from(wanted));
        for replica in &self.replicas {
            until(&line, async || replica.metrics().await.contains(&line)).await;
        }
    }

    async fn all_up(&self) {
        for task in ["announcing", "listening", "blacklist"] {
            self.up(task, true).await;
        }
    }

    /// Logs out at the first replica; how long it takes until the other's follower knows.
    async fn time_to_refusal(&self, tokens: &Tokens) -> Duration {
        self.replicas[0].logout(&tokens.refresh).await;
        let out = Instant::now();
        until("the token is refused", async || {
            self.resource.whoami(&tokens.access).await.status == 401
        })
        .await;
        out.elapsed()
    }

    /// Everything that matters works, and a logout is seen at the other replica.
    async fn serves(&self, name: &str) {
        let first = self.replicas[0].newcomer(name).await;
        let second = Tokens::of(&self.replicas[1].refresh(&first.refresh).await);
        assert_eq!(self.resource.whoami(&second.access).await.status, 200);
        let took = self.time_to_refusal(&second).await;
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
        self.replicas[1].refresh(&second.refresh).await.assert_problem(401, "session-revoked");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn word_of_a_logout_reaches_the_other_replicas_at_once() {
    let redis = Redis::start(&[]).await;
    let url = redis.url();
    let site = Site::start(redis, &url).await;
    site.all_up().await;
    site.replicas[0].register("ada").await;
    // Left to the poll alone, half of them would take more than 125 ms; a busy machine gets a few
    // chances, which the poll could not use.
    let mut times = Vec::new();
    for _ in 0..5 {
        times.clear();
        for _ in 0..25 {
            let tokens = site.replicas[0].login("ada").await;
            assert_eq!(site.resource.whoami(&tokens.access).await.status, 200);
            times.push(site.time_to_refusal(&tokens).await);
        }
        times.sort();
        if times[12] < Duration::from_millis(60) {
            return;
        }
    }
    panic!("{times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_blacklist_is_there_for_whoever_asks_and_comes_back_whole() {
    let redis = Redis::start(&[]).await;
    let url = redis.url();
    let mut site = Site::start(redis, &url).await;
    let [one, other] = &site.replicas;
    let first = one.newcomer("ada").await;
    let second = one.login("ada").await;
    let subject = one.get_as(&first.access, "/me").await.member("id");
    one.logout(&first.refresh).await;
    let session = format!("revoked:session:{}", first.session);
    let body = serde_json::json!({"refresh_token": second.refresh, "sessions": "all"});
    assert_eq!(other.post("/logout", &body).await.status, 204);
    let subject = format!("revoked:subject:{subject}");

    let whole = async |redis: &Redis| {
        let mut asking = redis.connect().await;
        until("the blacklist is whole", async || {
            asking.clone().exists("revoked:complete").await.is_ok_and(|there| there)
                && asking.clone().exists(&session).await.is_ok_and(|there| there)
                && asking.clone().exists(&subject).await.is_ok_and(|there| there)
        })
        .await;
        let left: i64 = redis::cmd("TTL").arg(&session).query_async(&mut asking).await.unwrap();
        assert!((900..=992).contains(&left), "as long as any token it could kill: {left}");
        assert_eq!(asking.get(&subject).await.unwrap().as_deref(), Some("2"), "the version");
        let all: Vec<String> = asking.keys("*").await.unwrap();
        let passing =
            |key: &&String| !key.starts_with("revoked:writing:") && !key.starts_with("limit:");
        let lasting = all.iter().filter(passing);
        assert_eq!(lasting.count(), 3, "nothing else: {all:?}");
        asking
    };
    let mut asking = whole(&site.redis).await;
    let _: () = redis::cmd("FLUSHALL").query_async(&mut asking).await.unwrap();
    whole(&site.redis).await;
    site.redis.kill();
    site.redis.restart().await;
    whole(&site.redis).await;
    site.all_up().await;
}

/// What one replica wrote arrives after what another wrote later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_write_of_one_replica_takes_no_version_of_another_back() {
    let redis = Redis::start(&[]).await;
    let link = Link::start(&redis.address).await;
    let database = Database::create(Kind::Postgres).await;
    let by_link = format!("redis://{}", link.address());
    let mut late = Service::auth(&database.url, &[("AUTH__REDIS__URL", &by_link)]);
    let mut other = Service::auth(&database.url, &[("AUTH__REDIS__URL", &redis.url())]);
    for auth in [&mut late, &mut other] {
        auth.start().await;
        until("it writes", async || {
            auth.metrics().await.contains("latchkey_redis_up{task=\"blacklist\"} 1")
        })
        .await;
    }
    let tokens = other.newcomer("ada").await;
    let subject = other.get_as(&tokens.access, "/me").await.member("id");
    let key = format!("revoked:subject:{subject}");
    let log_everything_out = async || {
        let refresh = other.login("ada").await.refresh;
        let body = serde_json::json!({"refresh_token": refresh, "sessions": "all"});
        assert_eq!(other.post("/logout", &body).await.status, 204);
    };
    let mut asking = redis.connect().await;
    link.set(Mode::Hold);
    log_everything_out().await;
    // Long enough for the other to have written it too, into the link.
    tokio::time::sleep(Duration::from_millis(400)).await;
    log_everything_out().await;
    until("the higher version is there", async || {
        asking.clone().get(&key).await.unwrap().as_deref() == Some("3")
    })
    .await;
    link.set(Mode::Pass);
    for _ in 0..100 {
        assert_eq!(asking.get(&key).await.unwrap().as_deref(), Some("3"), "and stays");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The mark says that the blacklist is whole; a flush in the middle of its being written must not be
/// covered by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_flushed_while_it_is_written_is_not_called_complete() {
    const ENTRIES: usize = 60_000;
    let redis = Redis::start(&[]).await;
    let database = Database::create(Kind::Postgres).await;
    let mut auth = Service::auth(&database.url, &[("AUTH__REDIS__URL", &redis.url())]);
    auth.start().await;
    let sql = "insert into revocations (kind, id, created_at, expires_at) \
        select 'session', rpad(n::text, 21, 'A') || 'A', 0, 9999999999999 \
        from generate_series(100000, 159999) n";
    database.execute(sql).await;
    let mut asking = redis.connect().await;
    let mut flushed = 0;
    until("it is whole in spite of two flushes", async || {
        let size: usize = redis::cmd("DBSIZE").query_async(&mut asking).await.unwrap();
        if flushed < 2 && size >= 5_000 {
            redis::cmd("FLUSHALL").exec_async(&mut asking).await.unwrap();
            // Else it was whole, and only this test too slow to see it grow.
            flushed += usize::from(size < ENTRIES);
        }
        // In this order: what is complete now was written before.
        let complete = asking.exists("revoked:complete").await.unwrap();
        let size: usize = redis::cmd("DBSIZE").query_async(&mut asking).await.unwrap();
        assert!(flushed == 0 || !complete || size > ENTRIES, "complete, with {size} keys");
        flushed == 2 && complete && size > ENTRIES
    })
    .await;
}

/// Agrees to everything, and to a subscription too, and then is gone.
async fn hang_up_on_subscribers(mut stream: TcpStream) {
    let mut heard = vec![0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut heard).await {
        let text = String::from_utf8_lossy(&heard[..length]);
        if text.contains("SUBSCRIBE") {
            let reply = "*3\r\n$9\r\nsubscribe\r\n$16\r\nlatchkey:revoked\r\n:1\r\n";
            let _ = stream.write_all(reply.as_bytes()).await;
            return;
        }
        let commands = text.matches('*').count();
        let _ = stream.write_all("+OK\r\n".repeat(commands).as_bytes()).await;
    }
}

/// As a proxy does that knows nothing of subscriptions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_up_again_and_again_is_not_asked_without_a_pause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let calls = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counting.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(hang_up_on_subscribers(stream));
        }
    });
    let database = Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[("AUTH__REDIS__URL", &url)]);
    auth.start().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let calls = calls.load(Ordering::Relaxed);
    assert!((3..40).contains(&calls), "{calls} connections in three seconds");
    auth.newcomer("ada").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_everything_works_and_other_replicas_learn_a_poll_later() {
    let redis = Redis::start(&[]).await;
    let url = redis.url();
    let mut site = Site::start(redis, &url).await;
    site.all_up().await;
    site.serves("with").await;

    site.redis.kill();
    site.serves("killed").await;
    site.up("blacklist", false).await;
    site.redis.restart().await;
    site.all_up().await;

    site.redis.pause();
    site.serves("paused").await;
    site.up("listening", false).await;
    site.redis.resume();
    site.all_up().await;

    let mut asking = site.redis.connect().await;
    let mut configure = async |memory: &str| {
        let mut set = redis::cmd("CONFIG");
        let done = set.arg("SET").arg("maxmemory").arg(memory).query_async::<()>(&mut asking).await;
        done.expect("Redis obeys");
    };
    configure("1").await;
    site.serves("full").await;
    site.up("blacklist", false).await;
    configure("0").await;
    site.all_up().await;
    site.serves("again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_absent_or_refuses_us_does_not_keep_the_service_from_starting() {
    let guarded = Redis::start(&[("requirepass", "a-password")]).await;
    let wrong = format!("redis://:wrong@{}", guarded.address);
    let none = format!("redis://{}", testbed::process::free_address());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("redis://{}", listener.local_addr().unwrap());
    for (name, url) in [("absent", &none), ("wrong password", &wrong), ("silent", &silent)] {
        let site = Site::start(Redis::start(&[]).await, url).await;
        site.serves(name).await;
        site.up("blacklist", false).await;
    }
}

/// With the access list that `auth-service secrets` writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_list_lets_the_service_do_what_it_needs_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let secrets = directory.path().to_str().unwrap();
    assert!(run("auth-service", &["secrets", secrets], &[]).status.success());
    let users = directory.path().join("redis/users.acl");
    let redis = Redis::start(&[("aclfile", users.to_str().unwrap())]).await;
    let url = fs::read_to_string(directory.path().join("auth/redis_url")).unwrap();
    let url = url.trim().replace("@redis", &format!("@{}", redis.address));
    let site = Site::start(redis, &url).await;
    site.all_up().await;
    site.up("limits", true).await;
    site.serves("ada").await;

    let client = redis::Client::open(url.as_str()).unwrap();
    let mut as_service = client.get_multiplexed_async_connection().await.unwrap();
    let mut as_anybody = site.redis.connect().await;
    let reader = fs::read_to_string(directory.path().join("redis/reader_url")).unwrap();
    let reader = reader.trim().replace("@redis", &format!("@{}", site.redis.address));
    let client = redis::Client::open(reader).unwrap();
    let mut as_reader = client.get_multiplexed_async_connection().await.unwrap();
    assert!(as_reader.get("revoked:complete").await.unwrap().is_some(), "a reader reads");
    assert!(!as_reader.exists("revoked:session:AAAAAAAAAAAAAAAAAAAAAA").await.unwrap());
    let pong: String = redis::cmd("PING").query_async(&mut as_anybody).await.unwrap();
    assert_eq!(pong, "PONG");
    for connection in [&mut as_reader, &mut as_anybody] {
        let counters = connection.get("limit:login:AAAAAAAAAAAAAAAAAAAAAA").await;
        assert!(counters.is_err(), "what is counted is nobody else's business");
    }
    for forbidden in [
        &["FLUSHALL"][..],
        &["KEYS", "*"],
        &["GET", "something"],
        &["EVAL", "return redis.call('GET', 'something')", "1", "something"],
        &["DEL", "revoked:complete"],
        &["SET", "something", "else"],
        &["EXPIRE", "revoked:complete", "1"],
        &["PUBLISH", "elsewhere", ""],
        &["CONFIG", "GET", "*"],
    ] {
        for connection in [&mut as_service, &mut as_reader, &mut as_anybody] {
            let mut command = redis::cmd(forbidden[0]);
            let answer = command.arg(&forbidden[1..]).query_async::<redis::Value>(connection).await;
            let error = answer.expect_err(forbidden[0]).to_string();
            assert!(error.contains("NOPERM") || error.contains("no permission"), "{error}");
        }
    }
}

/// Of two keys in one script a cluster says CROSSSLOT, and the blacklist would never be complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_cluster_is_refused_by_name_at_the_start_and_by_the_doctor() {
    let cluster = Redis::start(&[("cluster-enabled", "yes")]).await;
    let database = Database::create(Kind::Sqlite).await;
    let settings = Service::auth(&database.url, &[("AUTH__REDIS__URL", &cluster.url())]).settings;
    let output = run("auth-service", &["serve"], &settings);
    assert_one_clear_line(&output, "auth-service", &["redis.url", "Redis Cluster"]);
    assert!(run("auth-service", &["migrate"], &settings).status.success());
    let doctor = run("auth-service", &["doctor"], &settings);
    let told = String::from_utf8_lossy(&doctor.stdout);
    assert!(!doctor.status.success(), "{told}");
    assert!(told.contains("BAD   redis      redis.url: leads to a Redis Cluster"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_becomes_a_cluster_is_away_and_the_log_says_why() {
    let mut redis = Redis::start(&[]).await;
    let database = Database::create(Kind::Postgres).await;
    let auth = Service::auth(&database.url, &[("AUTH__REDIS__URL", &redis.url())]);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut starting: Command = command("auth-service", &[], &auth.settings);
    starting.stdout(Stdio::null()).stderr(log.reopen().unwrap());
    let _process = testbed::process::Process::run(&mut starting);
    auth.ready().await;
    let is_up = |task: &str, up: u8| format!("latchkey_redis_up{{task=\"{task}\"}} {up}");
    let shown = async |task: &str, up: u8| {
        let line = is_up(task, up);
        until(&line, async || auth.metrics().await.contains(&line)).await;
    };
    for task in ["blacklist", "limits"] {
        shown(task, 1).await;
    }

    redis.kill();
    redis.set("cluster-enabled", "yes");
    redis.restart().await;
    let tokens = auth.newcomer("ada").await;
    until("the log says why, for each task that needs it", async || {
        // What counts attempts tries again when there is one.
        auth.login("ada").await;
        let log = fs::read_to_string(log.path()).unwrap();
        ["announcing", "blacklist", "limits"].iter().all(|task| {
            let task = format!("\"task\":\"{task}\"");
            log.lines().any(|line| line.contains(&task) && line.contains("Redis Cluster"))
        })
    })
    .await;
    for task in ["announcing", "blacklist", "limits"] {
        shown(task, 0).await;
    }
    assert_eq!(auth.refresh(&tokens.refresh).await.status, 200, "nothing depends on it");

    redis.kill();
    redis.set("cluster-enabled", "no");
    redis.restart().await;
    until("it is back", async || {
        auth.login("ada").await;
        let metrics = auth.metrics().await;
        ["announcing", "blacklist", "limits"].iter().all(|task| metrics.contains(&is_up(task, 1)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgets_is_told_of_in_a_clear_line() {
    let redis = Redis::start(&[("maxmemory", "50mb"), ("maxmemory-policy", "allkeys-lru")]).await;
    let database = Database::create(Kind::Postgres).await;
    let auth = Service::auth(&database.url, &[("AUTH__REDIS__URL", &redis.url())]);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut starting: Command = command("auth-service", &[], &auth.settings);
    starting.stdout(Stdio::null()).stderr(log.reopen().unwrap());
    let _process = testbed::process::Process::run(&mut starting);
    auth.ready().await;
    until("it is told", async || {
        let log = fs::read_to_string(log.path()).unwrap();
        log.lines().any(|line| {
            ["ERROR", "allkeys-lru", "maxmemory-policy", "noeviction"]
                .iter()
                .all(|part| line.contains(part))
        })
    })
    .await;
    assert!(auth.metrics().await.contains("latchkey_redis_noeviction 0"));
    let answer = Answer::to(auth.http.get(format!("{}/health/ready", auth.public))).await;
    assert_eq!(answer.status, 200, "and it serves");
}
