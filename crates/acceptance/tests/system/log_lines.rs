//! N-T13: nothing that a client sends makes a line of the log, or a command to a terminal.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use testbed::process::{Process, command};
use testbed::service::owned;
use testbed::{Answer, Database, Kind, PASSWORD, Service, Tokens};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What would be a line of its own, and colour, the title of the window and the start of the line.
const EVIL: &str = "x\r\n{\"level\":\"INFO\",\"message\":\"forged\"}\n\x1b[31mred\x1b]0;title\x07\x08\u{9b}31m\u{2028}\r";

/// A token that looks like one, with such a `kid`.
fn token(kid: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": kid});
    let claims = json!({"iss": EVIL, "sub": EVIL, "aud": EVIL, "exp": 9_999_999_999_u64});
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode([1; 64]))
}

/// Sends bytes as they are.
async fn raw(service: &Service, request: &str) {
    let address = service.public.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.expect("the service listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 5"), "{request:?}");
}

/// Everything that a client may choose, chosen badly; then something good, to be found in the log.
async fn be_evil(auth: &Service, resource: &Service) -> Tokens {
    let register =
        |name: &str, email: &str| json!({"username": name, "password": PASSWORD, "email": email});
    for name in [EVIL, "ada\r\nforged", "ada\x1b[31m"] {
        assert_eq!(auth.post("/register", &register(name, "a@b.example")).await.status, 400);
        assert_eq!(auth.post("/register", &register("ada", name)).await.status, 400);
        let email = format!("\"{name}\"@b.example");
        assert_eq!(auth.post("/register", &register("ada", &email)).await.status, 400);
        let body = json!({"username": name, "password": EVIL});
        assert_eq!(auth.post("/login", &body).await.status, 401);
        for member in ["device", "scope", "transport", name] {
            let mut body = json!({"username": "ada", "password": PASSWORD});
            body[member] = json!(name);
            assert_eq!(auth.post("/login", &body).await.status, 400, "{member:?}");
        }
        for path in ["/me", "/sessions", "/whoami"] {
            let service = if path == "/whoami" { resource } else { auth };
            assert_eq!(service.get_as(&token(name), path).await.status, 401);
        }
        assert_eq!(auth.refresh(name).await.status, 401);
    }
    auth.register("ada").await;
    let tokens = auth.login("ada").await;
    Tokens::of(&auth.refresh(&tokens.refresh).await);
    // Of what comes again from elsewhere, both browsers are told of.
    for agent in ["forged\t\\r\\n\\x1b[31m\"}", "forged\u{e9}\u{9b}31m", "%0d%0aforged"] {
        let request = auth.http.post(format!("{}/refresh", auth.public));
        let request = request.header("user-agent", agent.as_bytes());
        let request = request.json(&json!({"refresh_token": tokens.refresh}));
        assert_eq!(Answer::to(request).await.status, 200);
    }
    let close = "Host: x\r\nConnection: close\r\n";
    for request in [
        format!("GET /%0d%0aforged%1b%5b31m HTTP/1.1\r\n{close}\r\n"),
        format!("GET /problems/%0aforged HTTP/1.1\r\n{close}\r\n"),
        format!("GET /\x1b[31mforged HTTP/1.1\r\n{close}\r\n"),
        format!("FORGED\x1b[31m / HTTP/1.1\r\n{close}\r\n"),
        format!("FORGED / HTTP/1.1\r\n{close}\r\n"),
        format!("GET /me HTTP/1.1\r\n{close}User-Agent: a\x1b[31mforged\r\n\r\n"),
        format!("GET /me HTTP/1.1\r\n{close}x-request-id: forged\u{9b}31m\r\n\r\n"),
        format!("GET /me HTTP/1.1\r\n{close}traceparent: 00-forged-forged-01\r\n\r\n"),
        format!("GET /me HTTP/1.1\r\n{close}\x1b[31mforged: a\r\n\r\n"),
        "\x1b[31mforged\r\n\r\n".to_owned(),
    ] {
        raw(auth, &request).await;
        raw(resource, &request).await;
    }
    auth.logout(&tokens.refresh).await;
    tokens
}

async fn services(
    log: impl Fn() -> Stdio,
    level: &str,
) -> (Service, Service, [Process; 2], Database) {
    let database = Database::create(Kind::Sqlite).await;
    let auth = Service::auth(&database.url, &[]);
    let resource = Service::resource(&auth, &[]);
    let start = |program: &str, service: &Service| {
        let mut command: Command = command(program, &[], &service.settings);
        let level = owned(&[("RUST_LOG", level)]);
        Process::run(command.envs(level).stderr(log()))
    };
    let processes = [start("auth-service", &auth), start("resource-service", &resource)];
    auth.ready().await;
    resource.ready().await;
    (auth, resource, processes, database)
}

/// Asks both to stop and waits until they have, and so have written everything.
async fn stop(processes: [Process; 2]) {
    for mut process in processes {
        process.terminate();
        assert!(process.ended().await);
    }
}

fn assert_no_secrets(log: &str, tokens: &Tokens) {
    let handle = tokens.refresh.split('.').nth(1).unwrap();
    for secret in [PASSWORD, &tokens.access, &tokens.refresh, handle, "@b.example"] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_writes_no_line_of_the_log() {
    // As shipped, and as somebody sets it who looks for a fault.
    for level in ["info", "debug"] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log");
        let file = File::options().create(true).append(true).open(&path).expect("a file");
        let log = || Stdio::from(file.try_clone().expect("a file"));
        let (auth, resource, processes, _database) = services(log, level).await;
        let tokens = be_evil(&auth, &resource).await;
        stop(processes).await;
        let log = std::fs::read_to_string(&path).expect("text");
        assert_no_secrets(&log, &tokens);
        let mut lines = 0;
        for line in log.lines() {
            let told: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"));
            assert!(told["timestamp"].is_string() && told["level"].is_string(), "{line}");
            assert_ne!(told["message"], "forged");
            assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
            lines += 1;
        }
        assert!(lines > 40, "{lines}");
        assert!(log.contains("a refresh token came again"), "{log}");
    }
}

/// A terminal that keeps what is written to it.
struct Terminal {
    slave: File,
    reading: JoinHandle<Vec<u8>>,
}

impl Terminal {
    fn open() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("text");
        let slave = File::options().read(true).write(true).open(name).expect("a terminal");
        let mut master = File::from(master);
        let reading = std::thread::spawn(move || {
            let (mut all, mut part) = (Vec::new(), [0; 4096]);
            // It fails when nobody has it open any more.
            while let Ok(n @ 1..) = master.read(&mut part) {
                all.extend_from_slice(&part[..n]);
            }
            all
        });
        Self { slave, reading }
    }

    /// Everything that was written, once nobody can write any more.
    fn written(self) -> String {
        drop(self.slave);
        let bytes = self.reading.join().expect("it was read");
        String::from_utf8(bytes).expect("text")
    }
}

/// Without the colours that the log has of its own.
fn without_colours(log: &str) -> String {
    let mut parts = log.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        plain.push_str(rest.strip_prefix('m').unwrap_or_else(|| panic!("no colour: {part:?}")));
    }
    plain
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_gives_no_command_to_the_terminal_of_who_reads_the_log() {
    for level in ["info", "debug"] {
        let terminal = Terminal::open();
        let log = || Stdio::from(terminal.slave.try_clone().expect("a terminal"));
        let (auth, resource, processes, _database) = services(log, level).await;
        let tokens = be_evil(&auth, &resource).await;
        stop(processes).await;
        let log = terminal.written();
        assert!(log.contains("\x1b["), "as on a terminal");
        assert!(!log.contains("\x1b[31mred") && !log.contains("\x1b[31mforged"), "{log:?}");
        let log = without_colours(&log);
        assert_no_secrets(&log, &tokens);
        for line in log.split("\r\n").filter(|line| !line.is_empty()) {
            assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
            // Each begins with its time.
            assert!(line.starts_with("20") && line.get(10..11) == Some("T"), "{line:?}");
        }
    }
}
