//! Private servers for whoever needs one, each held by a guard.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::guard::Guard;
use crate::project::Project;
use crate::{Result, setup};

/// A private Postgres that lives as long as this value at the most.
pub(crate) struct Server {
    guard: Guard,
    /// As clients take it.
    pub(crate) url: String,
    /// Its data directory. The log is `log` in the directory above.
    pub(crate) data: PathBuf,
}

/// Starts one.
pub(crate) fn postgres(project: &Project) -> Result<Server> {
    start(project, &[])
}

/// Starts one that is started again whenever it ends by itself.
pub(crate) fn lasting_postgres(project: &Project) -> Result<Server> {
    start(project, &["--again"])
}

fn start(project: &Project, options: &[&str]) -> Result<Server> {
    let programs = setup::postgres_programs()?;
    let arguments = [OsStr::new("postgres"), programs.as_os_str()].into_iter();
    let guard = Guard::start(project, arguments.chain(options.iter().map(OsStr::new)), |_| {})?;
    let (url, data) = guard.said().split_once(' ').ok_or("the guard did not say where")?;
    let (url, data) = (url.to_owned(), data.into());
    Ok(Server { guard, url, data })
}

/// `cargo xtask db`
pub(crate) fn keep_postgres(project: &Project) -> Result {
    let mut server = lasting_postgres(project)?;
    println!("export LATCHKEY_TEST_POSTGRES={}", server.url);
    println!("export LATCHKEY_TEST_POSTGRES_DATA={}", server.data.display());
    println!("export LATCHKEY_TEST_BIN_DIR={}", project.debug().display());
    println!("# Postgres runs until Ctrl-C.");
    while !server.guard.has_ended() {
        thread::sleep(Duration::from_millis(200));
    }
    Err("Postgres has ended".into())
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
