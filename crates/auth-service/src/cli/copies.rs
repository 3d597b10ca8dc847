//! `auth-service backup` and `auth-service restore`.

use std::path::Path;

use crate::config::Config;
use crate::store::{backup, restore};

use super::console::{Failure, say};

pub(super) async fn back_up(config: &Config, file: &Path) -> Result<(), Failure> {
    let copied = backup(&config.database, file).await?;
    say(&format!(
        "{}: {} users, migration {}, checked",
        file.display(),
        copied.users,
        copied.schema
    ));
    Ok(())
}

pub(super) async fn put_back(config: &Config, file: &Path) -> Result<(), Failure> {
    let copied = restore(&config.database, file).await?;
    say(&format!("restored: {} users, migration {}", copied.users, copied.schema));
    if let Some(before) = copied.before {
        say(&format!("what was there before is {}", before.display()));
    }
    say("next, before any service starts: `auth-service migrate`, then \
         `auth-service session end-all --after-restore`");
    Ok(())
}
