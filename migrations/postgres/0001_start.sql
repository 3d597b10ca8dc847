-- Instants are Unix milliseconds by this server's clock, moved by the offset a test binds (0 else).
create function latchkey_now(offset_ms bigint) returns bigint
    language sql volatile
    return (extract(epoch from clock_timestamp()) * 1000)::bigint + offset_ms;

create table users (
    id uuid primary key,
    username text not null,
    -- NFKC, casefolded: what uniqueness is judged by.
    username_key text not null unique,
    email text,
    email_key text unique,
    password_hash text not null,
    -- Raised by a password change, not by a re-hash.
    password_version integer not null default 1,
    -- Raised by logging out everywhere: every session with a lower version is over.
    version integer not null default 1,
    version_reason text,
    enabled boolean not null default true,
    -- Space-separated.
    roles text not null default '',
    created_at bigint not null
);

-- One row for a session, whatever the number of refreshes. No index on a column that a refresh
-- changes, and room in each page: the update stays on the page (HOT) and the table does not grow.
create table sessions (
    id text primary key,
    user_id uuid not null references users (id) on delete cascade,
    client_id text not null,
    scope text not null,
    subject_version integer not null,
    generation bigint not null default 1,
    rotated_at bigint,
    rotated_ip text,
    rotated_user_agent text,
    idle_expires_at bigint not null,
    expires_at bigint not null,
    revoked_at bigint,
    revoke_reason text,
    auth_time bigint not null,
    amr text not null,
    device text,
    user_agent text,
    ip text,
    created_at bigint not null
) with (fillfactor = 80);

create index sessions_user_id on sessions (user_id);

-- What verifiers must know. `xid` lets a reader ask for everything that was not yet committed, or
-- not yet visible, when it last looked.
create table revocations (
    seq bigint generated always as identity primary key,
    xid xid8 not null default pg_current_xact_id(),
    kind text not null check (kind in ('session', 'subject', 'token', 'key')),
    id text not null,
    min_version integer,
    created_at bigint not null,
    -- Null: for ever.
    expires_at bigint
);

create index revocations_xid on revocations (xid);

-- Signing keys and refresh keys, each sealed under the master key.
create table keys (
    id text primary key,
    purpose text not null check (purpose in ('sign', 'refresh')),
    algorithm text not null,
    state text not null,
    sealed bytea not null,
    public_jwk text,
    created_at bigint not null
);

-- Two replicas that start at once make one key, not two.
create unique index keys_one_in_use on keys (purpose, algorithm) where state = 'active';

-- Ends the sessions of the caller's user: the one that is named, or all but the caller's own. Says
-- whether the caller's session is good, and how many the named one is.
--
-- It locks the user first and looks afterwards, each statement with its own snapshot. In one plain
-- statement two sessions that end each other would both be judged good, and both would be ended.
create function latchkey_end_sessions(
    a_session text,
    a_generation bigint,
    a_grace_ms bigint,
    a_target text,
    a_offset_ms bigint,
    a_ttl_ms bigint,
    out callers bigint,
    out targets bigint
) language plpgsql volatile as $$
declare
    the_user uuid;
    the_now bigint;
begin
    select s.user_id into the_user from sessions s where s.id = a_session;
    perform 1 from users u where u.id = the_user for no key update;
    the_now := latchkey_now(a_offset_ms);
    select count(*) into callers
    from sessions s join users u on u.id = s.user_id
    where s.id = a_session and s.revoked_at is null and u.enabled
      and u.version = s.subject_version and the_now < s.idle_expires_at
      and (a_generation is null or s.generation = a_generation
           or (s.generation = a_generation + 1 and abs(the_now - s.rotated_at) < a_grace_ms));
    targets := 0;
    if callers = 0 then
        return;
    end if;
    select count(*) into targets from sessions s where s.user_id = the_user and s.id = a_target;
    with ended as (
        update sessions s set revoked_at = the_now, revoke_reason = 'logout'
        where s.user_id = the_user and s.revoked_at is null
          and case when a_target is null then s.id <> a_session else s.id = a_target end
        returning s.id)
    insert into revocations (kind, id, created_at, expires_at)
    select 'session', ended.id, the_now, the_now + a_ttl_ms from ended;
end $$;

-- A password change, too, locks the user first and looks at the sessions afterwards. In one plain
-- statement the snapshot would be older than the lock, and the session of a login that was in
-- flight would not be seen and would survive.
create function latchkey_change_password(
    a_session text,
    a_user uuid,
    a_password_version integer,
    a_hash text,
    a_sessions text,
    a_offset_ms bigint,
    a_ttl_ms bigint
) returns boolean language plpgsql volatile as $$
declare
    the_version integer;
    the_now bigint;
begin
    update users u
    set password_hash = a_hash,
        password_version = u.password_version + 1,
        version = u.version + case when a_sessions = 'all' then 1 else 0 end,
        version_reason = case when a_sessions = 'all' then 'password' else u.version_reason end
    where u.id = a_user and u.enabled and u.password_version = a_password_version
      and exists (
          select 1 from sessions s
          where s.id = a_session and s.user_id = u.id and s.revoked_at is null
            and s.subject_version = u.version
            and latchkey_now(a_offset_ms) < least(s.idle_expires_at, s.expires_at))
    returning u.version into the_version;
    if not found then
        return false;
    end if;
    the_now := latchkey_now(a_offset_ms);
    if a_sessions = 'all' then
        insert into revocations (kind, id, min_version, created_at, expires_at)
        values ('subject', a_user::text, the_version, the_now, the_now + a_ttl_ms);
    elsif a_sessions = 'others' then
        with ended as (
            update sessions s set revoked_at = the_now, revoke_reason = 'password'
            where s.user_id = a_user and s.id <> a_session and s.revoked_at is null
            returning s.id)
        insert into revocations (kind, id, created_at, expires_at)
        select 'session', ended.id, the_now, the_now + a_ttl_ms from ended;
    end if;
    return true;
end $$;
