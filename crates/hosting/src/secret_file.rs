//! Files that hold secrets: there whole or not at all, and for one reader only.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use uuid::Uuid;

/// Makes the file with this content and mode, unless there is one already: that one is kept, also
/// when two make it at once. A power cut leaves the whole file or none.
pub fn create(path: &Path, mode: u32, content: &str) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let beside = path.with_extension(format!("new-{}", Uuid::new_v4().simple()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    // A link, unlike a rename, does not replace what another process put there meanwhile.
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(directory)?.sync_all()
}

/// Reads a file that nobody but its owner may read.
pub fn read(path: &Path) -> io::Result<String> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        let problem = format!("others may read it (mode {:o}); chmod 600", mode & 0o777);
        return Err(io::Error::new(ErrorKind::PermissionDenied, problem));
    }
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_read_by_its_owner_only() {
        let directory =
            std::env::temp_dir().join(format!("latchkey-secret-{}", std::process::id()));
        let path = directory.join("below/key");
        create(&path, 0o600, "first").unwrap();
        create(&path, 0o600, "second").unwrap();
        assert_eq!(read(&path).unwrap(), "first");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing beside it");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("chmod 600"));
        fs::remove_dir_all(directory).unwrap();
    }
}
