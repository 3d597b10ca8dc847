//! Copies of a SQLite database: one is made while services use it, and one takes its place.
//!
//! Everything is written beside the name that it is to have, checked, and renamed. What is interrupted
//! leaves a file of another name, and no backup or database that is half of one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use secrecy::ExposeSecret as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, query};

use super::super::restored::RESTORED;
use super::BUSY_TIMEOUT;
use super::contents::{Contents, Unusable};
use crate::config;

/// Where the user version is, four bytes, the highest first (SQLite's file format, 1.3.13).
const USER_VERSION_AT: u64 = 60;

/// Why there is no copy. Nothing was changed then, unless the text says so.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(
        "database.url names a Postgres database, whose programs are pg_dump and pg_restore; the recipe is \
         in docs/backup.md"
    )]
    Postgres,
    #[error("{} is there already; name another file", .0.display())]
    Taken(PathBuf),
    #[error(
        "{} is left from a command that did not end, or one runs now; remove it if none does",
        .0.display()
    )]
    Unfinished(PathBuf),
    #[error("{} is in use; stop every auth-service and whatever else has it open", .0.display())]
    InUse(PathBuf),
    #[error(
        "{} lacks what is in the file -wal beside it; make backups with `auth-service backup`",
        .0.display()
    )]
    Partial(PathBuf),
    #[error("{} is no sound database of Latchkey: {}; use another backup", .0.display(), .1)]
    Unfit(PathBuf, String),
    #[error("{} is newer than this program: {}; use the version of auth-service that made it", .0.display(), .1)]
    Newer(PathBuf, String),
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, #[source] io::Error),
    #[error("{} cannot be copied: {}", .0.display(), .1)]
    Database(PathBuf, #[source] sqlx::Error),
    #[error(
        "{} is in its place, but the disk may not know that yet: {}; run `sync`, and go on as docs/backup.md says",
        .0.display(),
        .1
    )]
    Unsynced(PathBuf, #[source] io::Error),
    #[error(
        "{}; and what SQLite keeps beside {} is beside {} now: move it back before any service starts",
        .2,
        .0.display(),
        .1.display()
    )]
    Apart(PathBuf, PathBuf, #[source] Box<CopyError>),
}

/// What is in a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The number of its newest migration.
    pub schema: i64,
    pub users: i64,
    /// Where the database is that was there before a restore.
    pub before: Option<PathBuf>,
}

/// Copies the database of the settings to `target`, while services use it: as it is at one moment.
pub async fn backup(settings: &config::Database, target: &Path) -> Result<Copied, CopyError> {
    let database = file_of(settings)?;
    if is_there(target) {
        return Err(CopyError::Taken(target.to_owned()));
    }
    fs::metadata(&database).map_err(at(&database))?;
    let unfinished = Unfinished::create(beside(target, ".unfinished"))?;
    let done = copy_online(&database, &unfinished.path).await;
    done.map_err(|error| CopyError::Database(database, error))?;
    let contents = Contents::read(&unfinished.path).await;
    let contents = contents.map_err(|why| CopyError::Unfit(unfinished.path.clone(), why))?;
    unfinished.sync()?;
    // Nobody else can have made a file of that name: they would have made the unfinished one first.
    unfinished.rename(target)?;
    sync_directory_of(target).map_err(|error| CopyError::Unsynced(target.to_owned(), error))?;
    Ok(Copied { schema: contents.schema(), users: contents.users, before: None })
}

/// Puts `source`, which stays, in the place of the database of the settings, while nobody uses that. What
/// was there is kept under another name.
pub async fn restore(settings: &config::Database, source: &Path) -> Result<Copied, CopyError> {
    let named = file_of(settings)?;
    // A link to the database stays one, so one that leads nowhere is refused.
    let database = match fs::canonicalize(&named) {
        Err(error) if named.is_symlink() => return Err(CopyError::File(named, error)),
        found => found.unwrap_or(named),
    };
    // The log of a backup is beside the file itself, not beside a link to it.
    let source = fs::canonicalize(source).map_err(at(source))?;
    let mut from = File::open(&source).map_err(at(&source))?;
    if fs::metadata(beside(&source, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Err(CopyError::Partial(source));
    }
    let held = Held::unless_in_use(&database)?;
    // A service whose database was removed still holds this file.
    let stale =
        if held.is_none() { Held::unless_in_use(&beside(&database, "-shm"))? } else { None };
    let mut unfinished = Unfinished::create(beside(&database, ".restoring"))?;
    io::copy(&mut from, &mut unfinished.file).map_err(at(&unfinished.path))?;
    unfinished.give_to_owner_of(&database, held.as_ref())?;
    unfinished.mark_as_restored()?;
    let contents = Contents::read(&unfinished.path).await;
    let contents = contents.map_err(|why| CopyError::Unfit(source.clone(), why))?;
    contents.check().map_err(|unusable| match unusable {
        Unusable::Unfit(why) => CopyError::Unfit(source.clone(), why),
        Unusable::Newer(why) => CopyError::Newer(source.clone(), why),
    })?;
    unfinished.sync()?;
    let before = replace(&database, unfinished, held.is_some())?;
    // The new database has its place, and a failure must not cut the wait short.
    let synced = sync_directory_of(&database);
    drop(stale);
    if let Some(held) = held {
        // A program that opened the file before it lost its name waits for the lock, and would go on with it.
        tokio::time::sleep(BUSY_TIMEOUT + Duration::from_secs(1)).await;
        drop(held);
    }
    synced.map_err(|error| CopyError::Unsynced(database, error))?;
    Ok(Copied { schema: contents.schema(), users: contents.users, before })
}

/// The file that the settings name.
fn file_of(settings: &config::Database) -> Result<PathBuf, CopyError> {
    let url = settings.url.expose_secret();
    if !url.starts_with("sqlite:") {
        return Err(CopyError::Postgres);
    }
    let options = SqliteConnectOptions::from_str(url);
    let options =
        options.map_err(|error| CopyError::Database(PathBuf::from("database.url"), error))?;
    Ok(options.get_filename().to_owned())
}

/// SQLite writes the copy within one transaction that reads, and holds up nobody who writes.
async fn copy_online(database: &Path, copy: &Path) -> Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(database).busy_timeout(BUSY_TIMEOUT);
    // A copy takes its time, and nobody need be warned of that.
    let options = options.disable_statement_logging();
    let mut connection = options.connect().await?;
    let name = copy.to_str().ok_or_else(|| {
        sqlx::Error::Configuration("the name of the backup must be text in UTF-8".into())
    })?;
    query("vacuum into $1").bind(name.to_owned()).execute(&mut connection).await?;
    connection.close().await
}

/// A file that is removed unless it gets the name that it was made for.
struct Unfinished {
    path: PathBuf,
    file: File,
    done: bool,
}

impl Unfinished {
    /// An empty one for its owner alone.
    fn create(path: PathBuf) -> Result<Self, CopyError> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => Ok(Self { path, file, done: false }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(CopyError::Unfinished(path))
            }
            Err(error) => Err(CopyError::File(path, error)),
        }
    }

    /// Gives it the owner of the database that was there, or else of the directory. As root it would be
    /// root's, and the service could not open it.
    fn give_to_owner_of(&self, database: &Path, held: Option<&Held>) -> Result<(), CopyError> {
        let made = self.file.metadata().map_err(at(&self.path))?;
        let owner = match held {
            Some(held) => held.0.metadata().map_err(at(database))?,
            None if made.uid() == 0 => {
                let directory = directory_of(database);
                fs::metadata(directory).map_err(at(directory))?
            }
            // Others can give nothing away, and need not: the service would have made it like this.
            None => return Ok(()),
        };
        if (made.uid(), made.gid()) == (owner.uid(), owner.gid()) {
            return Ok(());
        }
        fchown(&self.file, Some(owner.uid()), Some(owner.gid())).map_err(at(&self.path))
    }

    /// Has it say that what had ended since it was made may be alive in it. Nobody has it open, and SQLite, asked
    /// to write this, would keep a file beside it that could be left behind.
    fn mark_as_restored(&self) -> Result<(), CopyError> {
        let mark = self.file.write_all_at(&RESTORED.to_be_bytes(), USER_VERSION_AT);
        mark.map_err(at(&self.path))
    }

    /// Waits until the disk has what is in it.
    fn sync(&self) -> Result<(), CopyError> {
        self.file.sync_all().map_err(at(&self.path))
    }

    /// Gives it the name, also in the place of another file.
    fn rename(mut self, name: &Path) -> Result<(), CopyError> {
        fs::rename(&self.path, name).map_err(at(name))?;
        self.done = true;
        Ok(())
    }

    /// Gives it the name unless a file has it by now.
    fn rename_unless_taken(self, name: &Path) -> Result<(), CopyError> {
        // It has both names until it is dropped.
        match fs::hard_link(&self.path, name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(CopyError::InUse(name.to_owned()))
            }
            linked => linked.map_err(at(name)),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The lock of a database that nobody else has open; whoever opens it meanwhile is told that it is locked.
///
/// Every connection in WAL mode holds a shared lock on the file for as long as it is open, also while it does
/// nothing or its process is stopped, and the system drops the lock of a process that died. So the lock of the
/// whole file is had exactly when no service is there. SQLite is not asked: the database may be damaged, which
/// is why it is replaced. No other handle of this process may be closed on the file meanwhile: that
/// would drop the lock.
///
/// Where there is no database, the file -shm stands for it: every connection in WAL mode holds a shared lock on
/// that as well. A file -wal without both is used by nobody.
struct Held(File);

impl Held {
    /// `None` where there is no file.
    fn unless_in_use(path: &Path) -> Result<Option<Self>, CopyError> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(at(path))?,
        };
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::AGAIN | Errno::ACCESS) => Err(CopyError::InUse(path.to_owned())),
            Err(error) => Err(CopyError::File(path.to_owned(), error.into())),
        }
    }
}

/// What SQLite keeps beside a database, by the ends of the names.
const SIDES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Has the copy take the place of the database and keeps what was there, under the name that is returned.
/// `was_there` says whether the database is there and held.
///
/// What SQLite keeps beside the database is moved first, so that none of it is taken for part of the new one,
/// and is moved back where the copy does not get its place. A process that is killed in between leaves the
/// database without it, and both together under the other name.
fn replace(
    database: &Path,
    copy: Unfinished,
    was_there: bool,
) -> Result<Option<PathBuf>, CopyError> {
    let kept = keep(database, was_there)?;
    let replaced = move_sides(database, &kept).and_then(|()| {
        // Otherwise the new database could be beside the old log after a power failure.
        sync_directory_of(database).map_err(at(directory_of(database)))?;
        if was_there { copy.rename(database) } else { copy.rename_unless_taken(database) }
    });
    let Err(error) = replaced else { return Ok(was_there.then_some(kept)) };
    if move_sides(&kept, database).is_err() {
        return Err(CopyError::Apart(database.to_owned(), kept, Box::new(error)));
    }
    // Its second name goes, unless somebody took the first one away.
    if was_there && is_there(database) {
        let _ = fs::remove_file(&kept);
    }
    let _ = sync_directory_of(database);
    Err(error)
}

/// Gives the database that is there a second name. It stays in its place until the new one takes that.
fn keep(database: &Path, was_there: bool) -> Result<PathBuf, CopyError> {
    let free =
        |name: &PathBuf| !is_there(name) && !SIDES.iter().any(|side| is_there(&beside(name, side)));
    let mut names = (1_u32..).map(|number| beside(database, &format!(".before-restore-{number}")));
    let Some(kept) = names.find(free) else {
        return Err(CopyError::File(database.to_owned(), ErrorKind::AlreadyExists.into()));
    };
    if was_there {
        fs::hard_link(database, &kept).map_err(at(&kept))?;
    } else if is_there(database) {
        // Somebody made it meanwhile.
        return Err(CopyError::InUse(database.to_owned()));
    }
    Ok(kept)
}

/// Moves what SQLite keeps beside one name beside another, and never in the place of a file.
fn move_sides(from: &Path, to: &Path) -> Result<(), CopyError> {
    for side in SIDES {
        let (from, to) = (beside(from, side), beside(to, side));
        if !is_there(&from) {
            continue;
        }
        if is_there(&to) {
            return Err(CopyError::File(to, ErrorKind::AlreadyExists.into()));
        }
        fs::rename(&from, &to).map_err(at(&from))?;
    }
    Ok(())
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// The same name with more at its end.
fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(more);
    name.into()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CopyError + '_ {
    move |error| CopyError::File(path.to_owned(), error)
}

/// Waits until the disk has the names in the directory of the file.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
}
