//! Each migration decides whether programs of before may serve what it makes, and one that says so only adds.
//!
//! migrations/README.md tells the rules. That two versions do serve one database is shown by `cargo xtask test
//! upgrade`.

mod additions;
mod old;
mod statements;

use additions::Made;
use old::{CONTRACTS, INCOMPATIBLE, LAST};
use statements::statements;

use crate::house::{files, read};

const KINDS: [&str; 2] = ["postgres", "sqlite"];
/// Above a statement that does more than add, before the reason why programs of before do not mind.
const CONTRACT: &str = "contract: ";
/// In a migration that programs of before must not serve, before the reason.
const NO_PROGRAM_OF_BEFORE: &str = "incompatible: ";

/// The migrations of a database, with their numbers.
fn migrations(kind: &str) -> Vec<(i64, String)> {
    let numbered = files(&format!("migrations/{kind}")).into_iter().map(|(path, _)| {
        let name = path.rsplit('/').next().expect("a name");
        let number = name.split('_').next().expect("a number").parse().expect("a number");
        (number, read(&path))
    });
    numbered.collect()
}

/// A reason is a sentence.
fn is_reason(text: &str) -> bool {
    text.split_whitespace().count() >= 5
}

/// What is wrong with a migration. `old` are the statements whose reasons are not in it, with these.
fn faults(number: i64, kind: &str, sql: &str, made: &mut Made) -> Vec<String> {
    let mut faults = Vec::new();
    let mark = format!(
        "insert into schema_compatibility ( version , oldest_program ) values ( {number} , "
    );
    let statements = statements(sql);
    let compatible = statements.iter().any(|one| one.text().starts_with(&mark));
    let said =
        sql.lines().find_map(|line| line.strip_prefix("-- ")?.strip_prefix(NO_PROGRAM_OF_BEFORE));
    let old = INCOMPATIBLE.iter().find(|(old, _)| *old == number).map(|(_, reason)| *reason);
    let incompatible = if number <= LAST { old } else { said };
    match (compatible, incompatible) {
        (true, None) => {}
        (false, Some(reason)) if is_reason(reason) => {}
        (false, Some(_)) => faults.push(format!("{number} gives no reason for being incompatible")),
        (true, Some(_)) => faults.push(format!("{number} is of two minds about older programs")),
        (false, None) => faults.push(format!("{number} does not say which programs may serve it")),
    }
    made.next_migration();
    for (place, statement) in statements.iter().enumerate() {
        let contracts = made.contracts(statement, &statements[place + 1..]);
        if !compatible {
            continue;
        }
        let text = statement.text();
        let written = statement.comment.join(" ");
        let reason = if number <= LAST {
            let mut old = CONTRACTS.iter().filter(|old| old.is_of(number, kind));
            old.find(|old| text.starts_with(old.beginning)).map(|old| old.reason)
        } else {
            written.split_once(CONTRACT).map(|(_, reason)| reason)
        };
        let short: String = text.chars().take(70).collect();
        match (contracts, reason) {
            (None, None) => {}
            (Some(_), Some(reason)) if is_reason(reason) => {}
            (Some(how), _) => faults.push(format!("{kind} {number}: `{short}` {how}")),
            (None, Some(_)) => faults.push(format!("{kind} {number}: `{short}` needs no reason")),
        }
    }
    faults
}

#[test]
fn a_migration_that_programs_of_before_may_serve_only_adds_or_says_why_not() {
    for kind in KINDS {
        let mut made = Made::default();
        let all = migrations(kind);
        assert!(all.len() > 10, "{kind}");
        for (number, sql) in all {
            assert_eq!(faults(number, kind, &sql, &mut made), [""; 0]);
        }
    }
}

/// The list does not outlive what it excuses.
#[test]
fn what_excuses_an_old_statement_is_about_one() {
    for old in CONTRACTS {
        let mut found = 0;
        for kind in KINDS {
            for (number, sql) in migrations(kind) {
                let is_it = |text: &str| old.is_of(number, kind) && text.starts_with(old.beginning);
                found += statements(&sql).iter().filter(|one| is_it(&one.text())).count();
            }
        }
        assert_eq!(found, 1, "{}", old.beginning);
    }
}

/// A later migration, which says that programs of before may serve it.
fn judged(kind: &str, statement: &str) -> Vec<String> {
    let mark = "insert into schema_compatibility (version, oldest_program) values (99, 10);";
    faults(99, kind, &format!("{statement};\n\n-- They do not mind.\n{mark}"), &mut Made::default())
}

#[test]
fn what_only_adds_is_let_pass() {
    for statement in [
        "create table pets (id uuid primary key, name text not null unique check (name <> ''))",
        "create table pets (id uuid);\ncreate unique index pets_id on pets (id)",
        "create table if not exists pets (id uuid);\nalter table pets add check (id is not null)",
        "create index users_roles on users (roles)",
        "alter table users add column pet text, add column pets integer not null default 0",
        "create function f() returns trigger language plpgsql as $$ begin return null; end $$;\n\
         create trigger t after update of roles on users for each row execute function f()",
        "create trigger t after update of roles on users begin insert into events (at) values (1); end",
        "drop trigger t;\ncreate trigger t after delete on users begin insert into a values (1); end",
        "insert into clients (client_id, kind) values ('pets', 'public')",
        "grant select on users to public",
    ] {
        assert_eq!(judged("postgres", statement), [""; 0], "{statement}");
    }
}

#[test]
fn what_takes_away_changes_or_forbids_is_refused() {
    let raising = "create function f() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$";
    for statement in [
        "drop table users",
        "drop table if exists users",
        "drop index sessions_live",
        "drop trigger users_told on users",
        "drop function latchkey_now",
        "drop table users;\ncreate table users (id uuid)",
        "truncate users",
        "alter table users drop column email",
        "alter table users rename column email to address",
        "alter table users rename to people",
        "alter table users alter column email set not null",
        "alter table users alter column roles type varchar(10)",
        "alter table users alter column roles drop default",
        "alter table users add constraint c check (roles <> '')",
        "alter table users add check (roles <> '')",
        "alter table users add unique (roles)",
        "alter table users add column pet text, drop column email",
        "alter table users add column pet text check (pet <> ''), add column other text",
        "alter table users add column pet text not null",
        "alter table users add column pet text unique",
        "alter table users add column pet uuid references pets (id)",
        "alter table users add column pet uuid default gen_random_uuid()",
        "create unique index users_roles on users (roles)",
        "create trigger t before update on users for each row execute function f()",
        "create trigger t after insert on users begin select raise(abort, 'no'); end",
        "create trigger t after insert on users begin update users set roles = ''; end",
        "update users set roles = ''",
        "delete from sessions where revoked_at is not null",
        "insert into events (at) select created_at from users",
        "insert into clients (client_id) values ('a') on conflict (client_id) do update set name = ''",
        "do $$ begin perform 1; end $$",
        "revoke select on users from public",
        "alter function latchkey_now set search_path from current",
        "select latchkey_now(0)",
    ] {
        assert_eq!(judged("postgres", statement).len(), 1, "{statement}");
    }
    let trigger = "create trigger t after update on users for each row execute function f()";
    assert_eq!(judged("postgres", &format!("{raising};\n{trigger}")).len(), 1);
    // Also where an earlier migration made the function.
    let mut made = Made::default();
    let incompatible = "-- incompatible: it is only here to make a function.\n";
    assert_eq!(faults(98, "postgres", &format!("{incompatible}{raising};"), &mut made), [""; 0]);
    let mark = "insert into schema_compatibility (version, oldest_program) values (99, 10);";
    assert_eq!(faults(99, "postgres", &format!("{trigger};\n{mark}"), &mut made).len(), 1);
}

#[test]
fn a_reason_above_the_statement_excuses_it_and_nothing_else() {
    let reason = "-- contract: no program since migration 9\n-- reads or writes it.\n";
    let drop = "alter table users drop column email";
    assert_eq!(judged("postgres", &format!("{reason}{drop}")), [""; 0]);
    for sql in [
        format!("-- contract: because.\n{drop}"),
        format!("{reason}\n{drop}"),
        format!("{reason}{drop};\n{drop}"),
        format!("{reason}create table pets (id uuid)"),
    ] {
        assert_eq!(judged("postgres", &sql).len(), 1, "{sql}");
    }
}

#[test]
fn a_migration_says_one_of_two_things_about_older_programs() {
    let mark = "insert into schema_compatibility (version, oldest_program) values (99, 10);";
    let incompatible = "-- incompatible: what a role means is another thing from now on.";
    let table = "create table pets (id uuid);";
    for (sql, expected) in [
        (format!("{table}\n{mark}"), 0),
        (format!("{incompatible}\n{table}\ndrop table users;"), 0),
        (format!("{incompatible}\n{table}\n{mark}"), 1),
        (format!("-- incompatible: yes.\n{table}"), 1),
        (table.to_owned(), 1),
        (format!("{table}\n-- {mark}"), 1),
        (format!("{table}\n{}", mark.replace("99", "98")), 1),
    ] {
        assert_eq!(faults(99, "sqlite", &sql, &mut Made::default()).len(), expected, "{sql}");
    }
}
