//! What a process that holds secrets asks of its system.

use testbed::{Kind, Service};

/// A core dump would leave keys and passwords on the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_left_behind_in_a_core_dump_and_files_are_not_short() {
    let database = testbed::Database::create(Kind::Sqlite).await;
    let mut auth = Service::auth(&database.url, &[]);
    auth.start().await;
    let mut resource = Service::resource(&auth, &[]);
    resource.start().await;
    for service in [&auth, &resource] {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.pid())).unwrap();
        let limit = |name: &str| -> Vec<String> {
            let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().take(2).map(str::to_owned).collect()
        };
        assert_eq!(limit("Max core file size"), ["0", "0"]);
        let files = limit("Max open files");
        assert_eq!(files[0], files[1], "as many as the system allows");
    }
}
