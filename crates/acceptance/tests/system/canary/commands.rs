//! Every command of the auth-service that meets a secret, used well and badly; and services that start
//! with bad settings.

use std::io::Write as _;
use std::process::Stdio;

use super::canaries::Place;
use super::dump::ADDRESS;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use testbed::process;
use testbed::service::owned;

use super::scene::Scene;
use super::site::Site;

pub(crate) async fn play(scene: &mut Scene, site: &Site) {
    let password = users(scene, site);
    invitations(scene, site).await;
    keys(scene, site).await;
    offset(scene, site, &password).await;
    refused_settings(scene, site);
}

/// Runs it; what it writes is searched.
pub(super) fn command(
    scene: &mut Scene,
    site: &Site,
    arguments: &[&str],
    line: &str,
    others: &[(&str, &str)],
) -> (bool, String) {
    let mut settings = site.settings.clone();
    settings.extend(owned(others));
    let mut command = process::command("auth-service", arguments, &settings);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut input = child.stdin.take().expect("a pipe");
    // One that is refused its settings reads nothing.
    let _ = writeln!(input, "{line}");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let out = Place::new(format!("what {arguments:?} says"), output.stdout);
    scene.places.push(match arguments {
        // These lists are asked for to see the addresses in them.
        ["user", "list" | "invitations" | "show" | "export", ..] => out.allowing(ADDRESS),
        // The one time that it is told.
        ["user", "invite", ..] => out.allowing(INVITATION),
        _ => out,
    });
    scene.places.push(Place::new(format!("the log of {arguments:?}"), output.stderr));
    (output.status.success(), said)
}

fn users(scene: &mut Scene, site: &Site) -> String {
    let password = scene.password("of eve");
    let (other, refused) = (scene.password("of eve, later"), scene.password("refused"));
    let (address, other_address) = (scene.address("of eve"), scene.address("of dora"));
    let create = ["user", "create", "eve", "--email", &address, "--role", "admin"];
    let mut expect = |good: bool, arguments: &[&str], line: &str| {
        let done = command(scene, site, arguments, line, &[]);
        if done.0 != good {
            scene.unexpected.push(format!("{arguments:?} is {}: {}", done.0, done.1));
        }
    };
    expect(false, &create, &refused.repeat(10));
    expect(true, &create, &password);
    expect(false, &create, &password);
    expect(false, &["user", "set-password", "eve"], &refused.repeat(10));
    expect(false, &["user", "set-password", "nobody"], &refused);
    expect(true, &["user", "set-password", "eve"], &other);
    expect(true, &["user", "list"], "");
    expect(true, &["user", "disable", &address], "");
    expect(true, &["user", "enable", "eve"], "");
    expect(true, &["user", "roles", "eve", "auditor"], "");
    expect(true, &["session", "list", "ada"], "");
    expect(true, &["user", "show", &address], "");
    expect(true, &["user", "list", "--search", &address], "");
    expect(false, &["user", "list", "--search", "@"], "");
    expect(true, &["user", "export", "eve"], "");
    expect(true, &["user", "rename", &address, "Eve"], "");
    expect(false, &["user", "rename", "eve", &address], "");
    expect(false, &["user", "set-email", "eve", &refused], "");
    expect(true, &["user", "set-email", "eve", "--none"], "");
    expect(true, &["user", "set-email", "eve", &address], "");
    expect(true, &["user", "create", "dora", "--email", &other_address], &password);
    expect(false, &["user", "set-email", "eve", &other_address], "");
    expect(true, &["user", "delete", "dora"], "");
    expect(false, &["session", "revoke", &refused], "");
    expect(true, &["session", "revoke", "--all-of", &address], "");
    expect(true, &["doctor"], "");
    expect(true, &["migrate"], "");
    expect(true, &["healthcheck"], "");
    other
}

/// The kind of canary that an invitation is.
const INVITATION: &str = "invitation";

/// Made, listed, used well and badly, taken for its id.
async fn invitations(scene: &mut Scene, site: &Site) {
    let by_invitation = [("AUTH__REGISTRATION", "invite"), ("AUTH__PAGE__ENABLED", "true")];
    let address = scene.address("of somebody who is invited");
    let invite = ["user", "invite", "--email", &address];
    assert!(!command(scene, site, &invite, "", &[]).0, "registration is open");
    let (good, said) = command(scene, site, &invite, "", &by_invitation);
    assert!(good, "{said}");
    let token = said.split('\t').nth(1).expect("a token").to_owned();
    scene.canaries.text(INVITATION, "of somebody", &token);
    scene.canaries.text(INVITATION, "of somebody, its secret", &token[5..]);
    assert!(command(scene, site, &["user", "invitations"], "", &[]).0);
    assert!(!command(scene, site, &["user", "uninvite", &token], "", &[]).0);
    let (url, _neighbour) = site.neighbour(&by_invitation).await;
    let password = scene.password("of somebody who is invited");
    let body = |email: &str| json!({"username": "ivy", "password": password, "email": email, "invitation": token});
    let register = |body| scene.http.post(format!("{url}/register")).json(&body);
    let (other, good) = (register(body("other@example.com")), register(body(&address)));
    let again = register(body(&address));
    scene.refused(403, other).await;
    let answer = scene.send_about_user(good).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    scene.refused(403, again).await;
    // In the wrong places.
    scene.refused(401, scene.log_in(&token, &token)).await;
    scene.refused(401, scene.post("/refresh").json(&json!({"refresh_token": token}))).await;
    scene.refused(404, scene.post("/nowhere").query(&[("invitation", &token)])).await;
}

async fn keys(scene: &mut Scene, site: &Site) {
    let run = |scene: &mut Scene, arguments: &[&str], others: &[(&str, &str)]| {
        let (good, said) = command(scene, site, arguments, "", others);
        assert!(good, "{arguments:?}: {said}");
        said
    };
    let list = run(scene, &["keys", "list"], &[]);
    let first = list.lines().find(|line| line.contains("\tsign\t")).expect("a key that signs");
    let first = first.split('\t').next().expect("an id").to_owned();
    run(scene, &["keys", "rotate", "--now"], &[]);
    run(scene, &["keys", "rotate"], &[]);
    run(scene, &["keys", "rotate", "--purpose", "refresh"], &[]);
    site.unseal(scene).await;
    run(scene, &["keys", "revoke", &first], &[]);
    let (one, other) =
        (STANDARD.encode(site.secrets.master), STANDARD.encode(site.secrets.other_master));
    let swapped = |one: &str, other: &str| {
        owned(&[("AUTH__KEYS__MASTER_KEY", one), ("AUTH__KEYS__OTHER_MASTER_KEY", other)])
    };
    for settings in [swapped(&other, &one), swapped(&one, &other)] {
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        run(scene, &["keys", "reseal"], &settings);
    }
    // Only the key that did not seal them.
    let settings = [("AUTH__KEYS__MASTER_KEY", &*other), ("AUTH__KEYS__OTHER_MASTER_KEY", "")];
    for arguments in [&["keys", "reseal"][..], &["doctor"], &[]] {
        assert!(!command(scene, site, arguments, "", &settings).0, "{arguments:?}");
    }
}

/// A service an hour behind makes tokens that have expired, and one with a wrong password for Redis
/// works without it.
async fn offset(scene: &mut Scene, site: &Site, password: &str) {
    let wrong = format!("{:032x}", fastrand::u128(..));
    scene.canaries.text("password", "that is not Redis's", &wrong);
    let redis = site.settings.iter().rfind(|(name, _)| name == "AUTH__REDIS__URL");
    let redis = redis.expect("a Redis").1.replace(&site.secrets.redis, &wrong);
    let settings = [("AUTH__CLOCK__OFFSET_SECONDS", "-3600"), ("AUTH__REDIS__URL", &*redis)];
    let (url, _neighbour) = site.neighbour(&settings).await;
    let body = json!({"username": "eve", "password": password});
    let login = scene.http.post(format!("{url}/login")).json(&body);
    let expired = scene.tokens("a login an hour ago", login).await.access;
    for url in [format!("{}/whoami", scene.resource), format!("{}/me", scene.auth)] {
        scene.refused(401, scene.http.get(&url).bearer_auth(&expired)).await;
    }
    scene.refused(401, scene.post("/logout").bearer_auth(&expired).json(&json!({}))).await;
}

/// Each is said no to in a line that does not repeat it.
fn refused_settings(scene: &mut Scene, site: &Site) {
    let secret = format!("{:032x}", fastrand::u128(..));
    scene.canaries.text("secret", "in a bad setting", &secret);
    for (name, value) in [
        ("AUTH__KEYS__MASTER_KEY", secret.clone()),
        ("AUTH__KEYS__OTHER_MASTER_KEY", secret.clone()),
        ("AUTH__PASSWORDS__PEPPERS", secret.clone()),
        ("AUTH__PASSWORDS__PEPPERS", format!("1:{secret}")),
        ("AUTH__REDIS__URL", format!("redis://latchkey:{secret}@127.0.0.1:port")),
        ("AUTH__REDIS__URL", format!("rediss://latchkey:{secret}@127.0.0.1/#insecure")),
        ("AUTH__REDIS__URL", format!("redis://latchkey:{secret}@redis.example.com")),
        ("AUTH__REDIS__URL", secret.clone()),
        ("AUTH__DATABASE__URL", format!("postgres://latchkey:{secret}@127.0.0.1:port/x")),
        ("AUTH__DATABASE__URL", format!("postgres://latchkey:{secret}@127.0.0.1:1/x")),
        ("AUTH__DATABASE__URL", format!("postgres://latchkey:{secret}@no host/x")),
        ("AUTH__DATABASE__URL", format!("postgres://latchkey:{secret}@db.example.com/x")),
        ("AUTH__DATABASE__URL", format!("postgres://latchkey@127.0.0.1/x?sslpassword={secret}")),
        ("AUTH__DATABASE__URL", format!("mysql://latchkey:{secret}@127.0.0.1/x")),
        ("AUTH__DATABASE__URL", secret.clone()),
        ("AUTH__TOKENS__ACCESS_SECONDS", secret.clone()),
        ("AUTH__KEYS__ALGORITHM", secret.clone()),
        ("AUTH__FEED__SECRET_FILE", secret.clone()),
    ] {
        for arguments in [&["doctor"][..], &["user", "list"], &[]] {
            let free = process::free_address();
            let listen =
                [("AUTH__HTTP__LISTEN", &*free), ("AUTH__HTTP__INTERNAL_LISTEN", "127.0.0.1:0")];
            let settings = [&[(name, &*value)], &listen[..]].concat();
            // Commands have no need of Redis.
            if name == "AUTH__REDIS__URL" && arguments.len() == 2 {
                continue;
            }
            let done = command(scene, site, arguments, "", &settings);
            if done.0 {
                scene.unexpected.push(format!("{name} {arguments:?} is taken: {}", done.1));
            }
        }
    }
}
