-- OAuth clients: what each may have. What a token gets comes from its session and from this row. The client of
-- the settings (`tokens.client_id`) is a row too, which the service rewrites at its start where the settings differ.
create table clients (
    client_id text primary key,
    kind text not null check (kind in ('public', 'confidential')),
    name text not null,
    -- Space-separated: what may be granted, and what is granted where nothing is asked for.
    scopes text not null,
    default_scopes text not null,
    -- A JSON array of text: for which services its tokens are, besides the issuer.
    audiences text not null,
    -- Space-separated: by what it may get tokens.
    grants text not null,
    access_seconds bigint not null check (access_seconds between 60 and 900),
    idle_seconds bigint not null check (idle_seconds between 1 and absolute_seconds),
    absolute_seconds bigint not null check (absolute_seconds between 1 and 34560000),
    -- To be raised to end what the client was given. Nothing reads it yet.
    version bigint not null default 1,
    created_at bigint not null,
    changed_at bigint not null
);

-- A new table, which older programs do not know: their tokens get what their own settings say.
insert into schema_compatibility (version, oldest_program) values (10, 4);
