//! A TCP proxy for one link between two processes, which misbehaves when it is told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How a link behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Carries everything at once.
    Pass,
    /// Carries everything this much later, in both directions.
    Delay(Duration),
    /// Carries what is asked at once, and the replies this much later.
    DelayReplies(Duration),
    /// Resets the connections there are, and every new one.
    Cut,
    /// Holds back what comes, and delivers it when the mode changes: a network that heals.
    Hold,
    /// Swallows what comes. Connections that lost something stay silent for ever: a host that died.
    Mute,
    /// Carries what is asked, swallows the first reply, and resets the connection: whoever asked
    /// does not learn what came of it.
    SwallowReplies,
}

/// What happens to connections, now and once.
#[derive(Debug, Clone, Copy)]
struct Orders {
    mode: Mode,
    /// Raised to reset every connection there is.
    resets: u64,
    /// Raised to silence every connection there is.
    silences: u64,
}

/// A proxy in front of one address; ends with the value.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    target: Arc<Mutex<String>>,
    orders: watch::Sender<Orders>,
    accepting: JoinHandle<()>,
}

impl Link {
    /// A link to `target`, `host:port`.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(target: impl Into<String>) -> Self {
        let target = Arc::new(Mutex::new(target.into()));
        let leads_to = Arc::clone(&target);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        let (orders, heard) = watch::channel(Orders { mode: Mode::Pass, resets: 0, silences: 0 });
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = leads_to.lock().expect("nobody panicked").clone();
                tokio::spawn(connect(client, target, heard.clone()));
            }
        });
        Self { address, target, orders, accepting }
    }

    /// Where to connect instead of the target, `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Leads new connections elsewhere, and leaves those that are open as they are.
    ///
    /// # Panics
    /// When another thread panicked while it held the lock.
    pub fn lead_to(&self, target: impl Into<String>) {
        *self.target.lock().expect("nobody panicked") = target.into();
    }

    /// Behaves differently from now on.
    pub fn set(&self, mode: Mode) {
        self.orders.send_modify(|orders| {
            orders.mode = mode;
            orders.resets += u64::from(mode == Mode::Cut);
        });
    }

    /// Resets every connection there is; new ones behave as the mode says.
    pub fn reset(&self) {
        self.orders.send_modify(|orders| orders.resets += 1);
    }

    /// Silences every connection there is, for ever; new ones behave as the mode says.
    pub fn silence(&self) {
        self.orders.send_modify(|orders| orders.silences += 1);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
        self.reset();
    }
}

async fn connect(mut client: TcpStream, target: String, mut heard: watch::Receiver<Orders>) {
    let begun = *heard.borrow_and_update();
    let server = if begun.mode == Mode::Cut { None } else { TcpStream::connect(target).await.ok() };
    let Some(mut server) = server else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let reset = {
        let (client_in, client_out) = client.split();
        let (server_in, server_out) = server.split();
        let mut until_reset = heard.clone();
        let asked = Carrier { heard: heard.clone(), begun, replies: false };
        let replies = Carrier { heard, begun, replies: true };
        tokio::select! {
            both = async {
                tokio::try_join!(asked.carry(client_in, server_out), replies.carry(server_in, client_out))
            } => both.is_err(),
            _ = until_reset.wait_for(|orders| orders.resets != begun.resets) => true,
        }
    };
    if reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// The connection is to be reset.
struct Reset;

/// One direction of one connection.
struct Carrier {
    heard: watch::Receiver<Orders>,
    begun: Orders,
    replies: bool,
}

impl Carrier {
    /// Until the end of what comes.
    async fn carry(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Reset> {
        let mut buffer = vec![0; 16 * 1024];
        let mut silent = false;
        loop {
            let read = from.read(&mut buffer).await;
            // Of a host that died nothing is heard, not even that a connection is over.
            silent |= self.is_silenced();
            let read = match read {
                Ok(0) => {
                    if !silent {
                        let _ = to.shutdown().await;
                    }
                    return Ok(());
                }
                Ok(read) => read,
                Err(_) if silent => return Ok(()),
                Err(_) => return Err(Reset),
            };
            let orders = self.passed().await;
            silent |= orders.mode == Mode::Mute || orders.silences != self.begun.silences;
            if silent {
                continue;
            }
            match orders.mode {
                Mode::Delay(time) => tokio::time::sleep(time).await,
                Mode::DelayReplies(time) if self.replies => tokio::time::sleep(time).await,
                Mode::SwallowReplies if self.replies => return Err(Reset),
                _ => {}
            }
            if to.write_all(&buffer[..read]).await.is_err() {
                return Err(Reset);
            }
        }
    }

    fn is_silenced(&self) -> bool {
        let orders = self.heard.borrow();
        orders.mode == Mode::Mute || orders.silences != self.begun.silences
    }

    /// The orders, once they are not to hold back.
    async fn passed(&mut self) -> Orders {
        match self.heard.wait_for(|orders| orders.mode != Mode::Hold).await {
            Ok(orders) => *orders,
            // The link is gone, and with it the connection in a moment.
            Err(_) => self.begun,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each byte with the same one.
    async fn echo() -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        Link::start(target).await
    }

    async fn ask(stream: &mut TcpStream) -> std::io::Result<u8> {
        stream.write_all(&[7]).await?;
        let mut answer = [0];
        stream.read_exact(&mut answer).await?;
        Ok(answer[0])
    }

    async fn hears_nothing(stream: &mut TcpStream) {
        let waited = tokio::time::timeout(Duration::from_millis(50), ask(stream)).await;
        assert!(waited.is_err(), "{waited:?}");
    }

    #[tokio::test]
    async fn a_link_carries_delays_holds_and_resets() {
        let link = echo().await;
        let mut stream = TcpStream::connect(link.address()).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), 7);
        link.set(Mode::Delay(Duration::from_millis(20)));
        let begun = tokio::time::Instant::now();
        assert_eq!(ask(&mut stream).await.unwrap(), 7);
        assert!(begun.elapsed() >= Duration::from_millis(40), "there and back");
        link.set(Mode::Hold);
        hears_nothing(&mut stream).await;
        link.set(Mode::Pass);
        let mut answer = [0];
        stream.read_exact(&mut answer).await.unwrap();
        link.set(Mode::Cut);
        assert!(ask(&mut stream).await.is_err());
        let mut refused = TcpStream::connect(link.address()).await.unwrap();
        assert!(ask(&mut refused).await.is_err());
    }

    #[tokio::test]
    async fn what_was_silenced_stays_silent_and_what_comes_later_works() {
        let link = echo().await;
        let mut muted = TcpStream::connect(link.address()).await.unwrap();
        assert_eq!(ask(&mut muted).await.unwrap(), 7);
        link.set(Mode::Mute);
        hears_nothing(&mut muted).await;
        link.set(Mode::Pass);
        hears_nothing(&mut muted).await;
        let mut present = TcpStream::connect(link.address()).await.unwrap();
        assert_eq!(ask(&mut present).await.unwrap(), 7);
        link.silence();
        hears_nothing(&mut present).await;
        let mut later = TcpStream::connect(link.address()).await.unwrap();
        assert_eq!(ask(&mut later).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_reply_can_be_swallowed() {
        let link = echo().await;
        link.set(Mode::SwallowReplies);
        let mut stream = TcpStream::connect(link.address()).await.unwrap();
        assert!(ask(&mut stream).await.is_err(), "reset in place of the reply");
        link.set(Mode::Pass);
        let mut stream = TcpStream::connect(link.address()).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_silenced_connection_does_not_even_hear_that_its_server_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = Link::start(listener.local_addr().unwrap().to_string()).await;
        let mut client = TcpStream::connect(link.address()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        link.silence();
        drop(server);
        let mut answer = [0];
        let hearing = tokio::time::timeout(Duration::from_millis(50), client.read(&mut answer));
        assert!(hearing.await.is_err());
    }
}
