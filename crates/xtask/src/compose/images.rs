//! What the installation is made of: the base images, or stand-ins for them where no registry can be reached, and the
//! compiler of the build.
//!
//! A stand-in has the name, the users and the places of the image that it stands in for, as far as the compose files
//! rely on them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::debian::Debian;
use super::engine::Engine;
use super::report::Report;
use crate::Result;
use crate::project::{Project, run, shown, succeeds};

/// What the stand-ins have in them.
const PACKAGES: [&str; 12] = [
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "curl",
    "dash",
    "findutils",
    "grep",
    "nginx",
    "postgresql-17",
    "redis-server",
    "sed",
];
/// For what is compiled in the image.
const COMPILER: [&str; 9] = [
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "findutils",
    "gcc",
    "libc6-dev",
    "sed",
];
/// User and group of each as its image has them.
const USERS: [(&str, u32, u32); 3] =
    [("postgres", 999, 999), ("redis", 999, 1000), ("nginx", 101, 101)];
const BASE: &str = "latchkey-base:debian";
/// What no program reads.
const LEFT_OUT: [&str; 5] = [
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/locale",
    "./usr/lib/postgresql/17/lib/bitcode",
    // Without the library that it needs, the server must not find it.
    "./usr/lib/postgresql/17/lib/llvmjit.so",
];
const LIBRARIES: [&str; 3] = ["libc.so.6", "libm.so.6", "libgcc_s.so.1"];

const POSTGRES: &str = "\
FROM latchkey-base:debian
ENV PATH=/usr/lib/postgresql/17/bin:/usr/sbin:/usr/bin PGDATA=/var/lib/postgresql/data
COPY --chmod=755 entry.sh /entry.sh
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT [\"/entry.sh\"]
CMD [\"postgres\", \"-c\", \"listen_addresses=*\"]
";
/// What the image documents of itself, for the variables that docker-compose.yml sets.
const POSTGRES_ENTRY: &str = r#"#!/bin/bash
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    chmod 700 "$PGDATA"
    initdb --encoding=UTF8 --locale=C --username="$POSTGRES_USER" --pwfile=<(cat "$POSTGRES_PASSWORD_FILE"; echo)
    printf '\nhost all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
    pg_ctl -w -o "-c listen_addresses=''" start
    createdb --username="$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
    pg_ctl -m fast -w stop
fi
exec "$@"
"#;
const REDIS: &str =
    "FROM latchkey-base:debian\nVOLUME /data\nWORKDIR /data\nCMD [\"redis-server\"]\n";
const NGINX: &str = "FROM latchkey-base:debian\nCMD [\"nginx\"]\n";
/// Gives out programs that were built already. As cargo would, it goes by the times of the sources: with one that is
/// older than what was built it fails, where cargo would take the older program for the newer one.
const PREBUILT: &str = r#"#!/bin/sh
set -eu
for old in $(find . -path ./target -prune -o -type f ! -newer /prebuilt/auth-service -print); do
    echo "$old is older than the last build: it would not be compiled" >&2
    exit 1
done
mkdir -p target/dist
cp /prebuilt/* target/dist/
"#;

/// The names of the images as the Dockerfile and the compose files have them.
pub(super) struct Names {
    pub(super) compiler: String,
    pub(super) runtime: String,
    pub(super) postgres: String,
    pub(super) redis: String,
    pub(super) nginx: String,
}

impl Names {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let of = |file: &str, before: &str, after: char| -> Result<String> {
            let text = fs::read_to_string(root.join(file))?;
            let rest = text.split_once(before).map(|(_, rest)| rest);
            let name = rest.and_then(|rest| rest.split(after).next());
            name.map(str::to_owned).ok_or_else(|| format!("{file} has no {before}").into())
        };
        let [compose, scale] = super::files::COMPOSE;
        Ok(Self {
            compiler: of("Dockerfile", "ARG RUST_IMAGE=", '\n')?,
            runtime: of("Dockerfile", "ARG RUNTIME_IMAGE=", '\n')?,
            postgres: of(compose, "${POSTGRES_IMAGE:-", '}')?,
            redis: of(compose, "${REDIS_IMAGE:-", '}')?,
            nginx: of(scale, "${NGINX_IMAGE:-", '}')?,
        })
    }
}

/// Gives the engine every image that the build and the installation name. Without `compile` the compiler gives out the
/// programs of this run.
pub(super) fn provide(
    project: &Project,
    engine: &Engine,
    debian: &Debian,
    compile: bool,
    report: &mut Report,
) -> Result<Names> {
    let names = Names::read(&project.root)?;
    let running = [&names.nginx, &names.runtime, &names.postgres, &names.redis];
    let pulled = |name: &str| succeeds(engine.docker().args(["pull", "--quiet", name]));
    let real = running.iter().all(|name| pulled(name));
    if real {
        println!("the base images come from their registries");
    } else {
        println!(
            "no registry can be reached: stand-ins made of Debian's packages take the place of the base images"
        );
        stand_in(engine, debian, &names)?;
        let what = "compose on the images of the registries: none could be reached".to_owned();
        report.outcome.unchecked.push(what);
    }
    if !compile {
        prebuilt(project, engine, &names)?;
    } else if !pulled(&names.compiler) {
        println!("this machine's toolchain stands in for {}", names.compiler);
        compiler(engine, debian, &names)?;
    }
    Ok(names)
}

fn stand_in(engine: &Engine, debian: &Debian, names: &Names) -> Result {
    let root = debian.root("images", &PACKAGES, |root| {
        for (name, user, group) in USERS {
            let account = format!("{name}:x:{user}:{group}::/:/usr/sbin/nologin\n");
            append(&root.join("etc/passwd"), &account)?;
            append(&root.join("etc/group"), &format!("{name}:x:{group}:\n"))?;
        }
        // A tmpfs takes over the mode of the place that it is mounted on.
        for (place, (_, user, group), mode) in [
            ("var/lib/postgresql/data", USERS[0], 0o1777),
            ("run/postgresql", USERS[0], 0o3777),
            ("data", USERS[1], 0o755),
        ] {
            let place = root.join(place);
            fs::create_dir_all(&place)?;
            chown(&place, Some(user), Some(group))?;
            fs::set_permissions(&place, fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    })?;
    import(engine, &root, BASE, &[])?;
    build(engine, &names.postgres, &[("Dockerfile", POSTGRES), ("entry.sh", POSTGRES_ENTRY)])?;
    build(engine, &names.redis, &[("Dockerfile", REDIS)])?;
    build(engine, &names.nginx, &[("Dockerfile", NGINX)])?;
    let runtime = engine.home.join("runtime");
    lean(&root, &runtime)?;
    import(engine, &runtime, &names.runtime, &["USER 65532"])
}

/// The C library and a user, no shell, and no certificate authorities: nothing here is fetched by https.
fn lean(from: &Path, to: &Path) -> Result {
    let find = |name: &str| -> Result<PathBuf> {
        for entry in fs::read_dir(from.join("usr/lib"))? {
            let path = entry?.path().join(name);
            if path.exists() {
                return Ok(path);
            }
        }
        Err(format!("there is no {name}").into())
    };
    for name in LIBRARIES {
        let path = find(name)?;
        let copy = to.join(path.strip_prefix(from)?);
        fs::create_dir_all(copy.parent().unwrap_or(to))?;
        fs::copy(path, copy)?;
    }
    // The loader, which every program names by this path.
    let loaders = fs::read_dir(from.join("usr/lib64"))?;
    fs::create_dir_all(to.join("usr/lib64"))?;
    for loader in loaders {
        let loader = loader?;
        fs::copy(loader.path(), to.join("usr/lib64").join(loader.file_name()))?;
    }
    symlink("usr/lib", to.join("lib"))?;
    symlink("usr/lib64", to.join("lib64"))?;
    fs::create_dir_all(to.join("etc"))?;
    fs::write(to.join("etc/passwd"), "root:x:0:0::/:/none\nnonroot:x:65532:65532::/:/none\n")?;
    fs::write(to.join("etc/group"), "root:x:0:\nnonroot:x:65532:\n")?;
    fs::create_dir(to.join("tmp"))?;
    fs::set_permissions(to.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    Ok(())
}

fn prebuilt(project: &Project, engine: &Engine, names: &Names) -> Result {
    let place = context(engine, "prebuilt", &[("cargo", PREBUILT)])?;
    fs::create_dir_all(place.join("bin"))?;
    for name in ["auth-service", "resource-service"] {
        let copy = place.join("bin").join(name);
        // Most of a program of the dev profile are symbols.
        run(Command::new("strip").arg("-o").arg(&copy).arg(project.debug().join(name)))?;
    }
    let dockerfile = format!(
        "FROM {}\nUSER root\nENTRYPOINT []\nCOPY --chmod=755 cargo /usr/bin/cargo\nCOPY bin /prebuilt\n",
        names.postgres
    );
    fs::write(place.join("Dockerfile"), dockerfile)?;
    build_in(engine, "prebuilt", &names.compiler)
}

fn compiler(engine: &Engine, debian: &Debian, names: &Names) -> Result {
    let root = debian.root("compiler", &COMPILER, |_| Ok(()))?;
    let base = "latchkey-compiler:debian";
    import(engine, &root, base, &[])?;
    let place = context(engine, "compiler", &[])?;
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output()?;
    let sysroot = String::from_utf8(sysroot.stdout)?;
    run(Command::new("cp").args(["-a", sysroot.trim()]).arg(place.join("rust")))?;
    let _ = fs::remove_dir_all(place.join("rust/share"));
    let authorities = place.join("authorities");
    fs::copy("/etc/ssl/certs/ca-certificates.crt", authorities)?;
    let dockerfile = format!(
        "FROM {base}\nENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/rust/bin:/usr/sbin:/usr/bin\n\
         COPY authorities /etc/ssl/certs/ca-certificates.crt\nCOPY rust /usr/local/rust\n"
    );
    fs::write(place.join("Dockerfile"), dockerfile)?;
    build_in(engine, "compiler", &names.compiler)
}

/// Makes an image of a directory.
fn import(engine: &Engine, root: &Path, name: &str, changes: &[&str]) -> Result {
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(root).args(LEFT_OUT.map(|path| format!("--exclude={path}")));
    let mut tar = tar.args(["-c", "."]).stdout(Stdio::piped()).spawn()?;
    let mut import = engine.docker();
    import.arg("import");
    for change in changes {
        import.args(["--change", change]);
    }
    import.args(["-", name]).stdout(Stdio::null());
    let content = tar.stdout.take().ok_or("tar has an output")?;
    let imported = import.stdin(content).status()?;
    if !tar.wait()?.success() || !imported.success() {
        return Err(format!("{name} cannot be made: {imported}").into());
    }
    Ok(())
}

fn build(engine: &Engine, name: &str, files: &[(&str, &str)]) -> Result {
    let place = name.replace(['/', ':'], "-");
    context(engine, &place, files)?;
    build_in(engine, &place, name)
}

/// A directory that the engine sees as `/engine/NAME`.
fn context(engine: &Engine, name: &str, files: &[(&str, &str)]) -> Result<PathBuf> {
    let place = engine.home.join(name);
    fs::create_dir_all(&place)?;
    for (name, text) in files {
        fs::write(place.join(name), text)?;
    }
    Ok(place)
}

fn build_in(engine: &Engine, place: &str, name: &str) -> Result {
    let mut build = engine.docker();
    build.args(["build", "--quiet", "--tag", name]).arg(format!("/engine/{place}"));
    let output = build.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", shown(&build), String::from_utf8_lossy(&output.stderr)).into())
}

fn append(file: &Path, text: &str) -> Result {
    fs::write(file, fs::read_to_string(file)? + text)?;
    Ok(())
}
