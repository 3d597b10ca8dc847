//! Directories with the content of Debian packages, made without installing anything on this machine.
//!
//! An apt with a state of its own, for which nothing is installed, finds out what packages need and fetches that.
//! The packages are unpacked and not configured: none of their scripts runs, which takes a fifth of the time and
//! nothing of root's. What a script would have done and is needed, we do.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::project::{run, succeeds};

/// Debian 13: the images are of it, and its engine understands the compose files.
const SUITE: &str = "trixie";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// What packages ask for and nothing here uses, by the beginnings of their names: it is large.
const UNUSED: [&str; 6] = ["libllvm", "libz3", "libperl", "perl", "locales", "libc-l10n"];
/// The file that says what a directory was made of. It is written last.
const RECIPE: &str = ".made-of";

/// A place for such directories.
pub(super) struct Debian {
    home: PathBuf,
    mirror: String,
}

impl Debian {
    /// Keeps what it makes in a directory.
    pub(super) fn new(home: &Path) -> Result<Self> {
        for program in ["apt-get", "dpkg-deb"] {
            if !succeeds(Command::new(program).arg("--version")) {
                return Err(format!("needs Debian's packages, and there is no {program}").into());
            }
        }
        if !Path::new(KEYRING).exists() {
            return Err(format!("needs {KEYRING} (Debian: debian-archive-keyring)").into());
        }
        Ok(Self { home: home.to_owned(), mirror: mirror()? })
    }

    /// The directory of a name with these packages and all that they need. It is made once; `finish` does what it
    /// still needs.
    pub(super) fn root(
        &self,
        name: &str,
        packages: &[&str],
        finish: impl FnOnce(&Path) -> Result,
    ) -> Result<PathBuf> {
        let root = self.home.join(name);
        let recipe = format!("1 {SUITE} {}", packages.join(" "));
        if fs::read_to_string(root.join(RECIPE)).is_ok_and(|made| made == recipe) {
            return Ok(root);
        }
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        let fresh = tempfile::tempdir_in(&self.home)?;
        let made = fresh.path().join("root");
        let archives = self.fetch(fresh.path(), packages)?;
        unpack(&archives, &made)?;
        accounts(&made)?;
        // A script makes it a link. To an absolute path it would lead to this machine's.
        fs::remove_dir_all(made.join("var/run"))?;
        symlink("../run", made.join("var/run"))?;
        finish(&made)?;
        fs::write(made.join(RECIPE), recipe)?;
        fs::rename(&made, &root)?;
        Ok(root)
    }

    /// The archives of the packages and of what they need.
    fn fetch(&self, place: &Path, packages: &[&str]) -> Result<PathBuf> {
        let (state, archives) = (place.join("state"), place.join("archives"));
        fs::create_dir_all(state.join("lists/partial"))?;
        fs::create_dir_all(archives.join("partial"))?;
        fs::write(place.join("status"), "")?;
        let source = format!("deb [signed-by={KEYRING}] {} {SUITE} main\n", self.mirror);
        fs::write(place.join("sources.list"), source)?;
        let at = place.display();
        let settings = format!(
            "Dir::State \"{at}/state\";\nDir::State::status \"{at}/status\";\n\
             Dir::Cache \"{at}\";\nDir::Cache::Archives \"{at}/archives\";\n\
             Dir::Etc::sourcelist \"{at}/sources.list\";\nDir::Etc::sourceparts \"-\";\n\
             APT::Sandbox::User \"root\";\nAPT::Install-Recommends \"false\";\n\
             Acquire::Languages \"none\";\nAcquire::Retries \"3\";\n"
        );
        fs::write(place.join("apt.conf"), settings)?;
        let apt = || {
            let mut command = Command::new("apt-get");
            command.env("APT_CONFIG", place.join("apt.conf")).args(["-qq", "-y"]);
            command
        };
        run(apt().arg("update"))?;
        run(apt().args(["install", "--download-only"]).args(packages))?;
        Ok(archives)
    }
}

/// Of the system's own sources: where it gets its packages from, others can be got too.
fn mirror() -> Result<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(more) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(more.flatten().map(|entry| entry.path()));
    }
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let found = texts.into_iter().find_map(|text| mirror_in(&text));
    found.ok_or_else(|| "needs a mirror of Debian, and the sources of apt name none".into())
}

fn mirror_in(sources: &str) -> Option<String> {
    let lines = sources.lines().filter(|line| !line.starts_with('#'));
    let words = lines.flat_map(str::split_whitespace).map(|word| word.trim_end_matches('/'));
    let mut mirrors = words.filter(|word| word.starts_with("http") && word.ends_with("/debian"));
    mirrors.next().map(str::to_owned)
}

fn unpack(archives: &Path, root: &Path) -> Result {
    let mut files = Vec::new();
    for entry in fs::read_dir(archives)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|it| it == "deb")
            && !UNUSED.iter().any(|unused| name.starts_with(unused))
        {
            // What makes the links of the top (`bin`, `lib`) comes first.
            files.push((!name.starts_with("base-files_"), path));
        }
    }
    files.sort();
    fs::create_dir(root)?;
    for (_, file) in files {
        let status = Command::new("dpkg-deb").arg("-x").arg(&file).arg(root).status()?;
        if !status.success() {
            return Err(format!("{} cannot be unpacked: {status}", file.display()).into());
        }
    }
    Ok(())
}

/// As the script of base-passwd has them.
fn accounts(root: &Path) -> Result {
    for name in ["passwd", "group"] {
        let master = root.join("usr/share/base-passwd").join(format!("{name}.master"));
        fs::copy(master, root.join("etc").join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_that_of_the_system() {
        let old = "# deb http://a.example/debian x\ndeb http://b.example/debian/ stable main\n";
        assert_eq!(mirror_in(old).as_deref(), Some("http://b.example/debian"));
        let new = "Types: deb\nURIs: http://c.example/debian-security http://c.example/debian\n";
        assert_eq!(mirror_in(new).as_deref(), Some("http://c.example/debian"));
        assert_eq!(mirror_in("deb https://d.example/node x main\n"), None);
    }
}
