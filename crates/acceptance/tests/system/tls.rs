//! TLS to Postgres and Redis: with real servers, certificates of an authority of the test's own, and
//! everything that can be wrong with them. What is wrong is told in one sentence, and nothing goes on
//! in the clear that was not asked for so.

use std::path::Path;
use std::time::{Duration, Instant};

use testbed::authority::Certificate;
use testbed::service::{assert_one_clear_line, lasting_address, owned, run, until};
use testbed::standby::OwnPostgres;
use testbed::{Authority, Database, Kind, Link, Redis, Service, Tokens};

const SERVER: [&str; 3] = ["ssl=on", "ssl_cert_file=server.pem", "ssl_key_file=server.key"];

/// A server that shows this certificate.
async fn postgres(shown: &Certificate) -> OwnPostgres {
    let mut server = OwnPostgres::new().await;
    server.initialize();
    show(&server, shown);
    server.start(None, &SERVER).await;
    server
}

fn show(server: &OwnPostgres, shown: &Certificate) {
    server.write("server.pem", &shown.certificate);
    server.write("server.key", &shown.key);
}

/// By a name that certificates are for, and not by its number.
fn url(address: &str, parameters: &str) -> String {
    let address = address.replace("127.0.0.1", "localhost");
    format!("postgres://postgres@{address}/postgres?{parameters}")
}

fn trusting(authority: &Authority, mode: &str) -> String {
    format!("sslmode={mode}&sslrootcert={}", authority.file().display())
}

/// What `doctor` says of the database, after the schema was brought up to date over the same way.
fn seen_by_doctor(url: &str, more: &[(&str, &str)]) -> String {
    let mut settings = Service::auth(url, &[]).settings;
    settings.extend(owned(more));
    let migrated = run("auth-service", &["migrate"], &settings);
    assert!(migrated.status.success(), "{url}: {}", String::from_utf8_lossy(&migrated.stderr));
    let output = run("auth-service", &["doctor"], &settings);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn assert_refused(url: &str, parts: &[&str]) {
    let output = run("auth-service", &["migrate"], &Service::auth(url, &[]).settings);
    assert_one_clear_line(&output, "auth-service", parts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_connected_to_by_tls_as_the_settings_say_and_in_no_other_way() {
    let (ours, theirs) = (Authority::create(), Authority::create());
    let server = postgres(&ours.certify("localhost", 2)).await;
    let at = server.address.as_str();

    let right = url(at, &trusting(&ours, "verify-full"));
    let seen = seen_by_doctor(&right, &[]);
    assert!(seen.contains("ok    database   TLSv1.3"), "{seen}");
    // The same by a setting and the system's variable.
    let file = ours.file().display().to_string();
    let seen = seen_by_doctor(
        &url(at, ""),
        &[("AUTH__DATABASE__TLS", "verify-full"), ("SSL_CERT_FILE", &file)],
    );
    assert!(seen.contains("ok    database   TLSv1.3"), "{seen}");

    let other_host =
        format!("postgres://postgres@{at}/postgres?{}", trusting(&ours, "verify-full"));
    assert_refused(&other_host, &["database.url", "another host name"]);
    let unknown = ["database.url", "authority that is not trusted", "sslrootcert"];
    for parameters in [
        trusting(&theirs, "verify-full"),
        trusting(&theirs, "verify-ca"),
        "sslmode=verify-full".into(),
    ] {
        assert_refused(&url(at, &parameters), &unknown);
    }
    // Who names an authority wants it to be asked, as with libpq.
    assert_refused(&url(at, &trusting(&theirs, "require")), &unknown);
    assert_refused(
        &url(at, "sslmode=verify-full&sslrootcert=/nowhere.pem"),
        &["database.url", "sslrootcert", "cannot be read"],
    );

    for (parameters, what) in
        [("sslmode=require", "TLS with whoever it is"), ("sslmode=prefer", "the same")]
    {
        let seen = seen_by_doctor(&url(at, parameters), &[]);
        assert!(seen.contains("nothing checks who the server is"), "{what}: {seen}");
    }
    let seen = seen_by_doctor(&url(at, &trusting(&ours, "verify-ca")), &[]);
    assert!(seen.contains("TLSv1.3"), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_refused_and_a_renewed_one_is_good() {
    let (ours, next) = (Authority::create(), Authority::create());
    let server = postgres(&ours.certify("localhost", 0)).await;
    let authorities = tempfile::NamedTempFile::new().expect("a file");
    let trust = |authority: &Authority| {
        std::fs::copy(authority.file(), authorities.path()).expect("it can be copied");
    };
    trust(&ours);
    let parameters = format!("sslmode=verify-full&sslrootcert={}", authorities.path().display());
    let address = url(&server.address, &parameters);
    let settings = Service::auth(&address, &[]).settings;
    // It is good for the second in which it was made.
    until("it has expired", async || {
        !run("auth-service", &["migrate"], &settings).status.success()
    })
    .await;
    assert_refused(&address, &["database.url", "expired"]);

    show(&server, &ours.certify("localhost", 2));
    server.run("select pg_reload_conf()").await;
    until("the new one is shown", async || {
        run("auth-service", &["migrate"], &settings).status.success()
    })
    .await;

    // A service that runs takes the new authority for its next connection.
    let mut auth = Service::auth(&address, &[]);
    auth.start().await;
    let mut tokens = auth.newcomer("ada").await;
    trust(&next);
    show(&server, &next.certify("localhost", 2));
    server.run("select pg_reload_conf()").await;
    for _ in 0..2 {
        let ended = "select pg_terminate_backend(pid) from pg_stat_activity \
             where application_name = 'latchkey'";
        server.run(ended).await;
        serves(&auth, &mut tokens).await;
    }
    assert!(
        server
            .says(
                "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) \
         where application_name = 'latchkey'"
            )
            .await
    );
}

async fn serves(auth: &Service, tokens: &mut Tokens) {
    until("it serves", async || {
        let answer = auth.refresh(&tokens.refresh).await;
        if answer.status == 200 {
            *tokens = Tokens::of(&answer);
        }
        answer.status == 200
    })
    .await;
}

/// Also where somebody on the way says that the server has none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_refused_unless_that_was_asked_for() {
    let database = Database::create(Kind::Postgres).await;
    for mode in ["require", "verify-ca", "verify-full"] {
        assert_refused(
            &format!("{}?sslmode={mode}", database.url),
            &["database.url", "offers no TLS", "ssl = on"],
        );
    }
    for mode in ["disable", "prefer"] {
        let seen = seen_by_doctor(&format!("{}?sslmode={mode}", database.url), &[]);
        assert!(!seen.contains("TLS"), "{seen}");
    }
}

/// 127.1 leads to this machine too, but is not one of the ways to write it that count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leads_elsewhere_is_in_the_clear_only_where_that_was_said_and_doctor_says_it_aloud() {
    let (database, redis) = (Database::create(Kind::Postgres).await, Redis::start(&[]).await);
    let elsewhere = |url: &str| url.replace("127.0.0.1", "127.1");
    let (url, redis_url) = (elsewhere(&database.url), elsewhere(&redis.url()));
    assert_refused(&url, &["database.url", "database.tls", "verify-full", "disable"]);
    let settings = [
        ("AUTH__DATABASE__TLS", "disable"),
        ("AUTH__REDIS__TLS", "disable"),
        ("AUTH__REDIS__URL", redis_url.as_str()),
    ];
    let seen = seen_by_doctor(&url, &settings);
    for what in ["database", "redis"] {
        let told = format!(
            "warn  {what:<10} on another machine, and everything on the way there is in the clear"
        );
        assert!(seen.contains(&told), "{seen}");
    }
}

/// The server wants to know who connects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_shows_a_certificate_of_its_own_where_the_server_wants_one() {
    let ours = Authority::create();
    let server = postgres(&ours.certify("localhost", 2)).await;
    let authority = std::fs::read_to_string(ours.file()).expect("a certificate");
    server.write("clients.pem", &authority);
    server.write("pg_hba.conf", "hostssl all all all cert\nhostnossl all all all trust\n");
    server.run("alter system set ssl_ca_file = 'clients.pem'").await;
    server.run("select pg_reload_conf()").await;
    let own = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (own.path().join("me.pem"), own.path().join("me.key"));
    let made = ours.certify("postgres", 2);
    std::fs::write(&certificate, made.certificate).expect("it can be written");
    std::fs::write(&key, made.key).expect("it can be written");
    let trusting = trusting(&ours, "verify-full");
    let with = |certificate: &Path, key: &Path| {
        let own = format!("sslcert={}&sslkey={}", certificate.display(), key.display());
        url(&server.address, &format!("{trusting}&{own}"))
    };
    until("the server wants certificates", async || {
        let settings = Service::auth(&url(&server.address, &trusting), &[]).settings;
        let output = run("auth-service", &["migrate"], &settings);
        String::from_utf8_lossy(&output.stderr).contains("certificate")
    })
    .await;
    let seen = seen_by_doctor(&with(&certificate, &key), &[]);
    assert!(seen.contains("TLSv1.3"), "{seen}");
    assert_refused(
        &with(&certificate, Path::new("/nowhere.key")),
        &["database.url", "sslkey", "cannot be read"],
    );
}

/// A connection by TLS is closed with words, which a server that fell silent never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_by_tls_that_fall_silent_are_replaced_and_hold_up_no_shutdown() {
    let ours = Authority::create();
    let server = postgres(&ours.certify("localhost", 2)).await;
    let link = Link::start(server.address.clone()).await;
    let mut auth = Service::auth(&url(&link.address(), &trusting(&ours, "verify-full")), &[]);
    auth.start().await;
    let mut tokens = auth.newcomer("ada").await;
    for _ in 0..2 {
        link.silence();
        serves(&auth, &mut tokens).await;
    }
    link.silence();
    let begun = Instant::now();
    auth.terminate();
    assert!(auth.ended().await, "it ends as it should");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_connected_to_by_tls_as_the_settings_say_and_in_no_other_way() {
    let (ours, theirs) = (Authority::create(), Authority::create());
    let place = tempfile::tempdir().expect("a directory");
    let database = Database::create(Kind::Sqlite).await;
    let seen = |url: &str, authority: &Authority| {
        let file = authority.file().display().to_string();
        seen_by_doctor(
            &database.url,
            &[("AUTH__REDIS__URL", url), ("AUTH__REDIS__ROOT_CERT", &file)],
        )
    };
    let (plain, port) = redis(place.path(), &ours.certify("localhost", 2)).await;
    let right = format!("rediss://localhost:{port}");
    let said = seen(&right, &ours);
    assert!(said.contains("ok    redis      answers"), "{said}");
    let said = seen(&format!("rediss://127.0.0.1:{port}"), &ours);
    assert!(said.contains("another host name"), "{said}");
    let said = seen(&right, &theirs);
    assert!(said.contains("authority that is not trusted"), "{said}");
    // Without a file the system's count, and there is nothing of ours among those.
    let said = seen_by_doctor(&database.url, &[("AUTH__REDIS__URL", &right)]);
    assert!(said.contains("authority that is not trusted"), "{said}");
    // The port without TLS waits for the end of what it takes for a command. Never in the clear all the same.
    let said =
        seen(&format!("rediss://{}", plain.address.replace("127.0.0.1", "localhost")), &ours);
    assert!(said.contains("does not answer"), "{said}");
    drop(plain);

    let (_expired, port) = redis(place.path(), &ours.certify("localhost", 0)).await;
    until("it has expired", async || {
        seen(&format!("rediss://localhost:{port}"), &ours).contains("has expired")
    })
    .await;
}

/// The whole service, not only its doctor: every task that uses Redis has a connection of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_uses_redis_uses_it_by_tls() {
    let ours = Authority::create();
    let place = tempfile::tempdir().expect("a directory");
    let (_redis, port) = redis(place.path(), &ours.certify("localhost", 2)).await;
    let database = Database::create(Kind::Sqlite).await;
    let (url, file) = (format!("rediss://localhost:{port}"), ours.file().display().to_string());
    let mut auth = Service::auth(
        &database.url,
        &[("AUTH__REDIS__URL", &url), ("AUTH__REDIS__ROOT_CERT", &file)],
    );
    auth.start().await;
    for task in ["announcing", "listening", "blacklist", "limits"] {
        let up = format!("latchkey_redis_up{{task=\"{task}\"}} 1");
        until(&up, async || auth.metrics().await.contains(&up)).await;
    }
}

/// One with a second port, which is for TLS.
async fn redis(place: &Path, shown: &Certificate) -> (Redis, String) {
    let [certificate, key] = ["server.pem", "server.key"].map(|name| place.join(name));
    std::fs::write(&certificate, &shown.certificate).expect("it can be written");
    std::fs::write(&key, &shown.key).expect("it can be written");
    let address = lasting_address();
    let port = address.rsplit(':').next().expect("a port").to_owned();
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let settings = [
        ("tls-port", port.as_str()),
        ("tls-cert-file", &certificate),
        ("tls-key-file", &key),
        ("tls-auth-clients", "no"),
    ];
    (Redis::start(&settings).await, port)
}
