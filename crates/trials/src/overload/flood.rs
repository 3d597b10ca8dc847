//! A flood of logins, made as cheaply as can be: its processor time is not the service's.
//!
//! It runs in a process of its own (`overload flood`) until its standard input is closed, and then
//! writes what it was answered.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use testbed::process;

/// Whom to flood, and how.
#[derive(Args, Debug, Clone)]
pub struct Flood {
    /// `host:port` of the auth-service.
    #[arg(long)]
    pub address: String,
    /// Connections; each sends its next login as soon as it has an answer, whatever that says.
    #[arg(long, default_value_t = 256)]
    pub clients: usize,
    /// The priority of the flood's process: 19 leaves it what nobody else wants.
    #[arg(long, default_value_t = 0)]
    pub nice: i32,
}

/// A name that exists while a flood runs; every other login is for it, the rest for unknown ones.
pub const KNOWN: &str = "victim";

/// Answers by status; 0 stands for none.
pub type Counts = BTreeMap<u16, u64>;

/// What a flood was answered.
#[derive(Debug, Default, Clone)]
pub struct Answers {
    /// How many of each status.
    pub counts: Counts,
    /// Of 429 and 503, those that did not say when to come back.
    pub without_retry_after: u64,
}

/// A flood that runs.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts one in a process of its own.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(flood: &Flood) -> Self {
        let (clients, nice) = (flood.clients.to_string(), format!("--nice={}", flood.nice));
        let arguments = ["flood", "--address", &flood.address, "--clients", &clients, &nice];
        let mut command = process::command("overload", &arguments, &[]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().expect("the flood starts"))
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Ends it.
    ///
    /// # Panics
    /// When it does not say what it was answered.
    #[must_use]
    pub fn stop(self) -> Answers {
        // Its input is closed by the waiting.
        let output = self.0.wait_with_output().expect("it ends");
        let told: Value = serde_json::from_slice(&output.stdout).expect("it tells what it saw");
        let counts = told["counts"].as_object().expect("counts").iter();
        let counts = counts.filter_map(|(status, n)| Some((status.parse().ok()?, n.as_u64()?)));
        let without_retry_after = told["without_retry_after"].as_u64().expect("a number");
        Answers { counts: counts.collect(), without_retry_after }
    }
}

/// What the process does.
pub fn run(flood: &Flood) -> io::Result<()> {
    super::be_nice(flood.nice)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = Arc::new(AtomicBool::new(false));
    let all = Arc::new(Mutex::new(Answers::default()));
    let stopping = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        stopping.store(true, Ordering::Relaxed);
    });
    runtime.block_on(async {
        let clients: Vec<_> = (0..flood.clients)
            .map(|_| {
                let (address, stop, all) =
                    (flood.address.clone(), Arc::clone(&stop), Arc::clone(&all));
                tokio::spawn(async move {
                    let mut seen = Answers::default();
                    // The last answers may be long in coming; nobody waits for them.
                    while !stop.load(Ordering::Relaxed) {
                        if client(&address, &stop, &mut seen).await.is_err() {
                            *seen.counts.entry(0).or_default() += 1;
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    }
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    for (status, n) in seen.counts {
                        *all.counts.entry(status).or_default() += n;
                    }
                    all.without_retry_after += seen.without_retry_after;
                })
            })
            .collect();
        for client in clients {
            let _ = client.await;
        }
    });
    let all = all.lock().unwrap_or_else(PoisonError::into_inner);
    let counts: BTreeMap<_, _> =
        all.counts.iter().map(|(status, n)| (status.to_string(), n)).collect();
    let told = json!({"counts": counts, "without_retry_after": all.without_retry_after});
    writeln!(io::stdout(), "{told}")
}

/// One connection, as long as it lasts.
async fn client(address: &str, stop: &AtomicBool, seen: &mut Answers) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    while !stop.load(Ordering::Relaxed) {
        let known = fastrand::bool();
        let name = if known { KNOWN.to_owned() } else { format!("nobody-{:x}", fastrand::u64(..)) };
        let body = format!(r#"{{"username":"{name}","password":"{:x}"}}"#, fastrand::u128(..));
        let head = "POST /login HTTP/1.1\r\nhost: flooded\r\ncontent-type: application/json\r\n";
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await?;
        let (status, says_when) = answer(&mut stream, &mut buffer).await?;
        *seen.counts.entry(status).or_default() += 1;
        if matches!(status, 429 | 503) && !says_when {
            seen.without_retry_after += 1;
        }
    }
    Ok(())
}

/// Reads one answer: its status, and whether it has a `Retry-After`.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<(u16, bool)> {
    let bad = || io::Error::other("no answer that this understands");
    buffer.clear();
    let mut end = None;
    loop {
        if let Some((length, status, says_when)) = end
            && buffer.len() >= length
        {
            return Ok((status, says_when));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if end.is_none()
            && let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&buffer[..at]).to_ascii_lowercase();
            let status = head.get(9..12).and_then(|it| it.parse().ok()).ok_or_else(bad)?;
            let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
            let body: usize =
                header("content-length: ").map_or(Ok(0), str::parse).map_err(|_| bad())?;
            end = Some((at + 4 + body, status, header("retry-after: ").is_some()));
        }
    }
}
