//! The whole system in one process, on an embedded database: what `cargo run` starts.

use std::error::Error;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use auth_service::identity::names;
use auth_service::passwords::{HashingPurpose, Passwords};
use auth_service::policy::accounts;
use auth_service::store::{Credentials, Requester, Store};
use auth_service::{Application as AuthService, Config as AuthConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use hosting::origin::Origin;
use hosting::{causes, process, secret_file, settings, stop, telemetry};
use resource_service::{Application as ResourceService, Config as ResourceConfig};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::watch;
use verifier::Clock;

const DEMO_USER: &str = "demo";
const DEMO_PASSWORD: &str = "open sesame, but only here";
/// As in the defaults of the services.
const ISSUER: &str = "http://127.0.0.1:8080";
const RESOURCE: &str = "127.0.0.1:8081";
const LISTEN: &str = "AUTH__HTTP__LISTEN";
const READY_TIMEOUT: Duration = Duration::from_secs(15);
const WALKTHROUGH: &str = include_str!("../walkthrough.sh");

/// Latchkey in one process: auth-service, resource-service and a demo user on SQLite.
///
/// Settings of both services can be changed by AUTH__… and RESOURCE__… variables.
#[derive(Parser)]
#[command(name = "latchkey", version)]
struct Arguments {
    /// Where the database and the master key are kept.
    #[arg(long, default_value = "latchkey-data")]
    data: PathBuf,
}

fn main() -> ExitCode {
    process::prepare();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("latchkey: {}", causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let config = auth_config(&arguments.data)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let served = runtime.block_on(serve(config, &arguments.data));
    // What is still being looked up for traces is not waited for.
    runtime.shutdown_background();
    served
}

async fn serve(config: AuthConfig, data: &Path) -> Result<(), Box<dyn Error>> {
    // Of both services: there is one log, and one collector.
    let traces = telemetry::init("latchkey", &config.telemetry)?;
    let clock = Clock::with_offset(config.clock.offset_seconds);
    let local = is_private(&config.issuer);
    if !local {
        refuse_demo_user(&config, clock.clone()).await?;
    }
    let auth = AuthService::build(config, clock.clone()).await?;
    let resource = ResourceService::build(resource_config(&auth)?, clock).await?;
    if local {
        add_demo_user(&auth).await?;
    }
    until_ready(&resource).await?;
    greet(&auth, &resource, data, local).await?;

    let (stopping, stopped) = watch::channel(false);
    let stop = |mut stopped: watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    // When one of them ends, for whatever reason, the other does.
    let ends = |run: Result<(), std::io::Error>| {
        stopping.send_replace(true);
        run
    };
    let both = async {
        tokio::join!(async { ends(auth.run_until_stopped(stop(stopped.clone())).await) }, async {
            ends(resource.run_until_stopped(stop(stopped.clone())).await)
        },)
    };
    let asked = async {
        stop::requested().await;
        stopping.send_replace(true);
        std::future::pending().await
    };
    let (auth, resource) = tokio::select! {
        both = both => both,
        never = asked => never,
    };
    traces.stop().await;
    Ok(auth.and(resource)?)
}

async fn until_ready(resource: &ResourceService) -> Result<(), Box<dyn Error>> {
    let ready = async {
        while !resource.is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(READY_TIMEOUT, ready)
        .await
        .map_err(|_| "the resource-service cannot follow the auth-service; the log says why".into())
}

/// The environment's settings over what one machine needs.
fn auth_config(data: &Path) -> Result<AuthConfig, Box<dyn Error>> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(|error| {
        format!("cannot write to {}: {error}; choose another with --data", data.display())
    })?;
    let key = master_key(&data.join("master.key"))?;
    let issuer = std::env::var("AUTH__ISSUER").unwrap_or_else(|_| issuer_of_this_machine());
    let local = is_private(&issuer);
    let demo = |text: &str| if local { text.to_owned() } else { String::new() };
    let own = [
        ("AUTH__ISSUER", issuer.clone()),
        ("AUTH__PAGE__ENABLED", "true".to_owned()),
        ("AUTH__PAGE__RESOURCE", demo(&resource_origin())),
        ("AUTH__PAGE__DEMO_USERNAME", demo(DEMO_USER)),
        ("AUTH__PAGE__DEMO_PASSWORD", demo(DEMO_PASSWORD)),
        ("AUTH__DATABASE__URL", format!("sqlite:{}", data.join("latchkey.db").display())),
        ("AUTH__KEYS__MASTER_KEY", key),
        ("AUTH__HTTP__ALLOWED_ORIGINS", origins(&issuer)),
        ("AUTH__HTTP__DRAIN_SECONDS", "0".to_owned()),
    ];
    Ok(AuthConfig::load(None, over("AUTH", own))?)
}

fn resource_config(auth: &AuthService) -> Result<ResourceConfig, Box<dyn Error>> {
    let config = &auth.app().config;
    let internal = auth.internal_address();
    let own = [
        ("RESOURCE__ISSUER", config.issuer.clone()),
        // Not at the public address, which may be that of a network where answers can be forged.
        ("RESOURCE__KEYS__JWKS_URL", format!("http://{internal}/internal/keys")),
        ("RESOURCE__FEED__URLS", format!("http://{internal}/internal/revocations")),
        ("RESOURCE__FEED__SECRET", config.feed.secret.expose_secret().to_owned()),
        ("RESOURCE__HTTP__ALLOWED_ORIGINS", origins(&config.issuer)),
        ("RESOURCE__HTTP__DRAIN_SECONDS", "0".to_owned()),
    ];
    Ok(ResourceConfig::load(None, over("RESOURCE", own))?)
}

/// Whether nobody but this machine is meant, and nobody else can come: only then is there a user
/// with a password that everybody knows. Where to listen may also be in a file; that is not looked at.
fn is_private(issuer: &str) -> bool {
    let here = match std::env::var_os(LISTEN).filter(|listen| !listen.is_empty()) {
        Some(listen) => listen.to_str().is_some_and(settings::is_loopback),
        None => std::env::var_os(format!("{LISTEN}_FILE")).is_none(),
    };
    here && settings::is_loopback(issuer)
}

/// Where a browser on this machine finds the auth-service, wherever that was told to listen.
fn issuer_of_this_machine() -> String {
    let listen = std::env::var(LISTEN).unwrap_or_default();
    match listen.rsplit_once(':') {
        // Any free port: nobody knows which before it is taken.
        Some((_, "0")) | None => ISSUER.to_owned(),
        Some(("0.0.0.0" | "[::]", port)) => as_origin(&format!("http://127.0.0.1:{port}")),
        Some(_) if settings::is_loopback(&listen) => as_origin(&format!("http://{listen}")),
        Some(_) => ISSUER.to_owned(),
    }
}

/// The origins of the account page: the issuer's and, since people type either, this machine by its
/// other name.
fn origins(issuer: &str) -> String {
    if !settings::is_loopback(issuer) {
        return String::new();
    }
    let own = as_origin(issuer);
    let other = if own.contains("127.0.0.1") {
        own.replace("127.0.0.1", "localhost")
    } else {
        own.replace("localhost", "127.0.0.1")
    };
    format!("{own},{other}")
}

/// As browsers send it; what is no address stays as it is, and is refused by name.
fn as_origin(address: &str) -> String {
    Origin::of_web(address).map_or_else(|| address.to_owned(), |origin| origin.to_string())
}

/// Where a browser on this machine finds the resource-service; nothing when that cannot be known.
fn resource_origin() -> String {
    let listen = std::env::var("RESOURCE__HTTP__LISTEN");
    let listen = listen.unwrap_or_else(|_| RESOURCE.to_owned());
    // Any free port: nobody knows which before it is taken.
    if listen.ends_with(":0") { String::new() } else { as_origin(&format!("http://{listen}")) }
}

/// `own` settings, each replaced by the environment's where that has one.
fn over<const N: usize>(
    prefix: &'static str,
    own: [(&'static str, String); N],
) -> impl Iterator<Item = (String, String)> {
    let own = own.into_iter().filter(|(name, _)| {
        std::env::var_os(name).is_none() && std::env::var_os(format!("{name}_FILE")).is_none()
    });
    let environment = settings::environment().filter(move |(name, _)| name.starts_with(prefix));
    own.map(|(name, value)| (name.to_owned(), value)).chain(environment)
}

/// The key in the file, made on the first start; nobody else may read it.
fn master_key(path: &Path) -> Result<String, Box<dyn Error>> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the operating system gives no randomness")?;
    let key = secret_file::create(path, 0o600, &STANDARD.encode(bytes))
        .and_then(|()| secret_file::read(path))
        .map_err(|error| format!("cannot use {}: {error}", path.display()))?;
    Ok(key)
}

/// On a second start the user is there already.
async fn add_demo_user(auth: &AuthService) -> Result<(), Box<dyn Error>> {
    if demo_user(&auth.app().store).await?.is_some() {
        return Ok(());
    }
    let demo = accounts::Registration {
        username: Some(DEMO_USER.to_owned()),
        password: SecretString::from(DEMO_PASSWORD),
        email: None,
        requester: Requester::default(),
    };
    match accounts::provide(auth.app(), demo).await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("the demo user cannot be added: {error}").into()),
    }
}

/// Data that was tried out on this machine may not go public with a password that everybody knows.
/// Asked before anything is served.
async fn refuse_demo_user(config: &AuthConfig, clock: Clock) -> Result<(), Box<dyn Error>> {
    let store = Store::open(&config.database, clock).await?;
    let demo = demo_user(&store).await?;
    store.close().await;
    let Some(demo) = demo.filter(|demo| demo.enabled) else { return Ok(()) };
    let passwords = Passwords::new(&config.passwords)?;
    let mut place = passwords.enter(HashingPurpose::Login)?;
    let password = SecretString::from(DEMO_PASSWORD);
    if place.check(&password, Some(demo.password_hash)).await?.is_good() {
        return Err("the demo user still has the published password; change it on this machine \
                    first, or start on other data with --data"
            .into());
    }
    Ok(())
}

async fn demo_user(store: &Store) -> Result<Option<Credentials>, Box<dyn Error>> {
    let key = names::username(DEMO_USER).ok_or("the demo user has no name")?;
    Ok(store.credentials(key).await?)
}

async fn greet(
    auth: &AuthService,
    resource: &ResourceService,
    data: &Path,
    local: bool,
) -> Result<(), Box<dyn Error>> {
    println!("auth-service      http://{}", auth.public_address());
    println!("resource-service  http://{}", resource.public_address());
    println!("internal          http://{}", auth.internal_address());
    println!("data              {}", data.display());
    println!("documentation     http://{}/docs", auth.public_address());
    if local && accounts::demo(auth.app()).await?.is_none() {
        println!(
            "demo user         {DEMO_USER}, whose password was changed; --data DIR begins anew"
        );
        println!("\nOpen {} in a browser.", auth.app().config.issuer);
    } else if local {
        println!("demo user         {DEMO_USER} / {DEMO_PASSWORD}");
        println!("\nOpen {} in a browser.\n\nTry it; paste this:\n", auth.app().config.issuer);
        let auth = format!("http://{}", auth.public_address());
        let resource = format!("http://{}", resource.public_address());
        let text = WALKTHROUGH.replace("http://127.0.0.1:8080", &auth);
        println!("{}", text.replace("http://127.0.0.1:8081", &resource));
    }
    Ok(())
}
