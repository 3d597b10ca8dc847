//! The services as processes of their own, to be killed.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// The variable that names the directory of the built programs.
pub const PROGRAMS: &str = "LATCHKEY_TEST_BIN_DIR";

/// A running program, ended with the value.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts `program` with only these variables of the given prefixes and a quiet log.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(program: &str, arguments: &[&str], variables: &[(String, String)]) -> Self {
        Self::run(command(program, arguments, variables).stderr(Stdio::null()))
    }

    /// The same, but a write beyond the file size limit fails and does not kill the process.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_limitable(program: &str, variables: &[(String, String)]) -> Self {
        let direct = command(program, &[], variables);
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$0\""]).arg(direct.get_program());
        for (name, value) in direct.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        Self::run(shell.stderr(Stdio::null()))
    }

    /// Lets no file grow beyond this many bytes, or as far as the disk goes.
    ///
    /// # Panics
    /// When the system does not allow that.
    pub fn limit_files(&self, most: Option<u64>) {
        let limit = Rlimit { current: most, maximum: None };
        let set = prlimit(Some(Pid::from_child(&self.0)), Resource::Fsize, limit);
        set.expect("a limit can be set");
    }

    /// Starts any command, without input and output.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(quiet.spawn().expect("the program starts"))
    }

    /// Starts any command, without input; what it writes goes to the end of the file.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn recorded(command: &mut Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log");
        let same = file.try_clone().expect("a log");
        let recorded = command.stdin(Stdio::null()).stdout(same).stderr(file);
        Self(recorded.spawn().expect("the program starts"))
    }

    /// The same, with an input that has nothing in it and ends with us, however that ends.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn held(command: &mut Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log");
        let same = file.try_clone().expect("a log");
        let held = command.stdin(Stdio::piped()).stdout(same).stderr(file);
        Self(held.spawn().expect("the program starts"))
    }

    /// Ends it as a power cut would.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub fn kill(mut self) {
        self.0.kill().expect("the process is there");
        self.0.wait().expect("the process ends");
    }

    /// Asks it to stop (SIGTERM).
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn terminate(&self) {
        terminate(&self.0);
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Takes the processor away from it (SIGSTOP).
    ///
    /// # Panics
    /// When it cannot be stopped.
    pub fn pause(&self) {
        kill_process(Pid::from_child(&self.0), Signal::STOP).expect("the process is there");
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Panics
    /// When it is gone.
    pub fn resume(&self) {
        kill_process(Pid::from_child(&self.0), Signal::CONT).expect("the process is there");
    }

    /// Whether it has ended by itself.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("the process can be asked").is_some()
    }

    /// Waits for its end and says whether it was a good one.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn ended(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.0.try_wait().expect("the process can be asked") {
                return status.success();
            }
            assert!(Instant::now() < deadline, "the process does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks a process to stop (SIGTERM).
///
/// # Panics
/// When it cannot be asked.
pub fn terminate(process: &Child) {
    let asked = kill_process(Pid::from_child(process), Signal::TERM);
    asked.expect("the process can be asked");
}

/// The processes whose parent this is. Those that serve connections have the highest numbers and
/// come first.
#[must_use]
pub fn children(parent: Pid) -> Vec<Pid> {
    let wanted = parent.as_raw_nonzero().get().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |number: &i32| {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        // The name is in brackets and may hold anything; then come the state and the parent.
        let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
        after.split(' ').nth(1) == Some(wanted.as_str())
    };
    let mut numbers: Vec<i32> = numbers.filter(is_child).collect();
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    numbers.into_iter().filter_map(Pid::from_raw).collect()
}

/// A command for one of the programs, by its name or its path, with none of this process's settings.
///
/// # Panics
/// When the program was not built.
#[must_use]
pub fn command(program: &str, arguments: &[&str], variables: &[(String, String)]) -> Command {
    let path = programs().join(program);
    assert!(path.exists(), "{} is not there: run `cargo xtask test rust`", path.display());
    let mut command = Command::new(path);
    let ours = |name: &str| name.starts_with("AUTH__") || name.starts_with("RESOURCE__");
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().cloned()).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
///
/// # Panics
/// With what it wrote to its standard error when it fails.
pub fn succeeds(command: &mut Command) {
    let output = command.output().expect("the program can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Where the programs are: beside the test programs, unless the variable says otherwise.
///
/// # Panics
/// When a program does not know where it is.
#[must_use]
pub fn programs() -> PathBuf {
    std::env::var_os(PROGRAMS).map_or_else(
        || {
            let own = std::env::current_exe().expect("a program knows where it is");
            own.ancestors().nth(2).expect("it is in target/debug/deps").to_path_buf()
        },
        PathBuf::from,
    )
}

/// An address on this machine that nothing listens on at the moment.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it has an address").to_string()
}

/// Waits until `url` answers 200.
///
/// # Panics
/// When it does not in time.
pub async fn ready(http: &reqwest::Client, url: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answered = http.get(url).send().await;
        if answered.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        assert!(Instant::now() < deadline, "{url} does not become ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
