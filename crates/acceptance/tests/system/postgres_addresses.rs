//! Addresses of Postgres as libpq takes them: an IPv6 address in brackets, and a directory with a socket.

use std::net::TcpListener;

use testbed::Service;
use testbed::service::run;
use testbed::standby::OwnPostgres;

/// Nothing says how the way there is protected, so that each must be known for a way on this machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brackets_and_sockets_lead_to_the_server_on_this_machine() {
    let mut server = OwnPostgres::new().await;
    server.initialize();
    let more = ["listen_addresses=127.0.0.1,::1", "unix_socket_directories=."];
    server.start(None, &more).await;
    let (port, directory) = (server.port(), server.socket_directory());
    let encoded = directory.replace('/', "%2F");
    let mut urls = vec![
        format!("postgres://postgres:p@/postgres?host={directory}&port={port}"),
        format!("postgres://postgres:p@:{port}/postgres?host={encoded}"),
        format!("postgres:///postgres?host={directory}&port={port}&user=postgres"),
        format!("postgres://postgres:p@{encoded}:{port}/postgres"),
    ];
    // Some machines have no IPv6 at all; what is read of such a URL is tested beside the code.
    if TcpListener::bind("[::1]:0").is_ok() {
        urls.push(format!("postgres://postgres:p@[::1]:{port}/postgres"));
        urls.push(format!("postgres://postgres:p@:{port}/postgres?host=::1"));
    }
    for (number, url) in urls.iter().enumerate() {
        let mut auth = Service::auth(url, &[]);
        auth.start().await;
        let tokens = auth.newcomer(&format!("ada-{number}")).await;
        assert_eq!(auth.refresh(&tokens.refresh).await.status, 200, "{url}");
        let doctor = run("auth-service", &["doctor"], &auth.settings);
        let told = String::from_utf8_lossy(&doctor.stdout);
        assert!(told.contains("ok    database   Postgres"), "{url}: {told}");
        assert!(!told.contains("in the clear"), "{url}: {told}");
    }
}
