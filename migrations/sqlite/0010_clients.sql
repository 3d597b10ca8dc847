-- The same as on Postgres; see there for the reasons.
create table clients (
    client_id text primary key,
    kind text not null check (kind in ('public', 'confidential')),
    name text not null,
    scopes text not null,
    default_scopes text not null,
    audiences text not null,
    grants text not null,
    access_seconds integer not null check (access_seconds between 60 and 900),
    idle_seconds integer not null check (idle_seconds between 1 and absolute_seconds),
    absolute_seconds integer not null check (absolute_seconds between 1 and 34560000),
    version integer not null default 1,
    created_at integer not null,
    changed_at integer not null
) strict;

insert into schema_compatibility (version, oldest_program) values (10, 4);
