//! `auth-service user …`

use crate::config::Config;
use crate::passwords::Passwords;
use crate::policy::accounts::Registration;
use crate::policy::administration;
use crate::policy::find::find;
use crate::policy::roles::Roles;
use crate::store::{Requester, Store};
use clap::Subcommand;
use std::path::PathBuf;

use super::accounts::Listing;
use super::console::{Failure, open, read_password, say};
use super::{accounts, import, invitations};

/// What to do with users. USER is `id:…`, `name:…` or `email:…`, or a bare id, name or
/// address that can mean one user only.
#[derive(Subcommand)]
pub(super) enum Users {
    /// Add one, by a name, an address or both; asks for the password, or reads it as a line from standard input.
    Create {
        /// The name.
        #[arg(required_unless_present = "email")]
        username: Option<String>,
        /// The address.
        #[arg(long)]
        email: Option<String>,
        /// A role; may be given several times.
        #[arg(long = "role")]
        roles: Vec<String>,
    },
    /// Add the users of a file, one JSON object a line: `username` or `email` or both, `password_hash` (Argon2,
    /// bcrypt, scrypt or PBKDF2, as many systems write them; made anew at the first login), and optionally `id`, `roles`,
    /// `enabled` and `created_at`. Who is there just so is passed over; all else that cannot be used is told by its
    /// line, and the others are added. docs/import.md has more.
    Import {
        /// The file.
        file: PathBuf,
        /// Only say what would become of each line; nothing is written.
        #[arg(long)]
        dry_run: bool,
        /// Of passwords over 72 bytes take the first 72 for the whole, as bcrypt does. Without this nobody logs in
        /// with such a password and a hash of bcrypt.
        #[arg(long)]
        bcrypt_truncate: bool,
    },
    /// Let somebody register, where registration is by invitation. Prints one line, once: id, token, end, and the
    /// link to the account page, or a hyphen where that is not served. Whoever has the token can make one account.
    Invite {
        /// Only whoever registers with this address can use it.
        #[arg(long)]
        email: Option<String>,
        /// For how many hours it is good, at most 720.
        #[arg(long, value_name = "HOURS", default_value_t = administration::USUAL_INVITATION_HOURS)]
        expires_hours: u32,
    },
    /// List invitations, one line each: id, address, state (open, used, revoked or expired), begin, end, who used it.
    /// They are deleted a week after their end.
    Invitations,
    /// Revoke an invitation that nobody has used yet.
    Uninvite {
        /// Which one, by its id.
        invitation: String,
    },
    /// List them, one line each: id, name, address, roles, whether disabled, since when. A hyphen stands for what
    /// they do not have. In the order in which they registered; those of a search by their names, and then, where it
    /// found only the address, by their addresses.
    List {
        /// Only those whose name or address begins so, in whatever letters.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Only those after this one, which the same list has.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// At most so many.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Show one, a line for each thing that is known.
    Show {
        /// Who.
        user: String,
    },
    /// Give a user another name; their sessions go on.
    Rename {
        /// Who.
        user: String,
        /// The name.
        #[arg(required_unless_present = "none")]
        name: Option<String>,
        /// Take it away. They have to have an address.
        #[arg(long, conflicts_with = "name")]
        none: bool,
    },
    /// Give a user another address; their sessions go on. Nobody proves that it is theirs.
    SetEmail {
        /// Who.
        user: String,
        /// The address.
        #[arg(required_unless_present = "none")]
        address: Option<String>,
        /// Take it away. They have to have a name.
        #[arg(long, conflicts_with = "address")]
        none: bool,
    },
    /// Delete a user for ever. Every session ends and the name is free at once; what names them in the audit log is
    /// replaced by a service that runs. Nothing is asked.
    Delete {
        /// Who.
        user: String,
    },
    /// Write everything that is kept about a user to standard output, as JSON.
    Export {
        /// Who.
        user: String,
    },
    /// End every session of a user and let them log in no more.
    Disable {
        /// Who.
        user: String,
    },
    /// Let them log in again; no session comes back.
    Enable {
        /// Who.
        user: String,
    },
    /// Give a user another password and end every session; asks as `create` does.
    SetPassword {
        /// Who.
        user: String,
    },
    /// Give a user these roles and no others; tokens have them from the next refresh on.
    Roles {
        /// Who.
        user: String,
        /// The roles.
        #[arg(required_unless_present = "none")]
        roles: Vec<String>,
        /// Take all of them away.
        #[arg(long, conflicts_with = "roles")]
        none: bool,
    },
}

pub(super) async fn run(config: &Config, what: Users) -> Result<(), Failure> {
    let store = open(config).await?;
    let done = act(config, &store, what).await;
    store.close().await;
    done
}

async fn act(config: &Config, store: &Store, what: Users) -> Result<(), Failure> {
    let policy = &config.passwords;
    match what {
        Users::Create { username, email, roles } => {
            let roles = Roles::checked(config, roles)?;
            let password = read_password("Password")?;
            let registration =
                Registration { username, email, password, requester: Requester::default() };
            let passwords = Passwords::new(policy)?;
            let hashing = (policy, &passwords);
            let user =
                administration::create_user(store, hashing, registration, roles, None).await?;
            say(&user.to_string());
        }
        Users::Import { file, dry_run, bcrypt_truncate } => {
            let options = import::Options { dry_run, bcrypt_truncate };
            import::run(config, store, &file, &options).await?;
        }
        Users::Invite { email, expires_hours } => {
            invitations::invite(config, store, email, expires_hours).await?;
        }
        Users::Invitations => invitations::list(store).await?,
        Users::Uninvite { invitation } => invitations::revoke(store, &invitation).await?,
        Users::List { search, after, limit } => {
            accounts::list(store, Listing { search, after, limit }).await?;
        }
        Users::Show { user } => accounts::show(store, &user).await?,
        Users::Rename { user, name, none: _ } => {
            accounts::rename(store, &config.page, &user, name).await?;
        }
        Users::SetEmail { user, address, none: _ } => {
            accounts::set_email(store, &config.page, &user, address).await?;
        }
        Users::Delete { user } => accounts::delete(store, &user).await?,
        Users::Export { user } => accounts::export(store, &user).await?,
        Users::Disable { user } => {
            let user = find(store, &user).await?;
            administration::set_enabled(store, user, false).await?;
            say(&format!("{user} is disabled; every session is over"));
        }
        Users::Enable { user } => {
            let user = find(store, &user).await?;
            administration::set_enabled(store, user, true).await?;
            say(&format!("{user} is enabled"));
        }
        Users::SetPassword { user } => {
            let id = find(store, &user).await?;
            let account = administration::account(store, id).await?;
            let password = read_password("New password")?;
            let passwords = Passwords::new(policy)?;
            let hashing = (policy, &passwords);
            administration::set_password(store, hashing, (id, &account), &password).await?;
            say(&format!("{id} has the new password; every session is over"));
        }
        Users::Roles { user, roles, none: _ } => {
            let told = if roles.is_empty() { "no roles".to_owned() } else { roles.join(", ") };
            let roles = Roles::checked(config, roles)?;
            let user = find(store, &user).await?;
            administration::set_roles(store, user, roles).await?;
            say(&format!("{user} has {told}"));
        }
    }
    Ok(())
}
