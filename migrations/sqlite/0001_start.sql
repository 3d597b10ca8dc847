-- The same tables as on Postgres; see there for the reasons. Instants are Unix milliseconds.
create table users (
    id text primary key,
    username text not null,
    username_key text not null unique,
    email text,
    email_key text unique,
    password_hash text not null,
    password_version integer not null default 1,
    version integer not null default 1,
    version_reason text,
    enabled integer not null default 1,
    roles text not null default '',
    created_at integer not null
) strict;

create table sessions (
    id text primary key,
    user_id text not null references users (id) on delete cascade,
    client_id text not null,
    scope text not null,
    subject_version integer not null,
    generation integer not null default 1,
    rotated_at integer,
    rotated_ip text,
    rotated_user_agent text,
    idle_expires_at integer not null,
    expires_at integer not null,
    revoked_at integer,
    revoke_reason text,
    auth_time integer not null,
    amr text not null,
    device text,
    user_agent text,
    ip text,
    created_at integer not null
) strict;

create index sessions_user_id on sessions (user_id);

-- AUTOINCREMENT: a number that was purged must not come back below a reader's cursor.
create table revocations (
    seq integer primary key autoincrement,
    kind text not null check (kind in ('session', 'subject', 'token', 'key')),
    id text not null,
    min_version integer,
    created_at integer not null,
    expires_at integer
) strict;

create table keys (
    id text primary key,
    purpose text not null check (purpose in ('sign', 'refresh')),
    algorithm text not null,
    state text not null,
    sealed blob not null,
    public_jwk text,
    created_at integer not null
) strict;

create unique index keys_one_in_use on keys (purpose, algorithm) where state = 'active';
