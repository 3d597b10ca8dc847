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

-- Who acts: the user of the caller's session, if that is good; null if not.
--
-- It locks the user first and looks afterwards, and so do the functions below that begin with it:
-- in a function each statement has its own snapshot. In one plain statement the snapshot would be
-- older than the lock. Two sessions that end each other would both be judged good and both be ended,
-- and the session of a login that was in flight during a password change would survive it.
create function latchkey_caller(
    a_session text,
    a_generation bigint,
    a_grace_ms bigint,
    a_offset_ms bigint
) returns uuid language plpgsql volatile as $$
declare
    the_user uuid;
    the_now bigint;
begin
    select s.user_id into the_user from sessions s where s.id = a_session;
    perform 1 from users u where u.id = the_user for no key update;
    the_now := latchkey_now(a_offset_ms);
    select s.user_id into the_user
    from sessions s join users u on u.id = s.user_id
    where s.id = a_session and s.revoked_at is null and u.enabled
      and u.version = s.subject_version and the_now < s.idle_expires_at
      and (a_generation is null or s.generation = a_generation
           or (s.generation = a_generation + 1 and abs(the_now - s.rotated_at) < a_grace_ms));
    return the_user;
end $$;

-- Ends sessions of the user that were not ended yet, and announces each: the one that is named, or all but `a_keep`.
create function latchkey_end(
    a_user uuid,
    a_target text,
    a_keep text,
    a_reason text,
    a_offset_ms bigint,
    a_ttl_ms bigint
) returns void language plpgsql volatile as $$
declare
    the_now bigint := latchkey_now(a_offset_ms);
begin
    with ended as (
        update sessions s set revoked_at = the_now, revoke_reason = a_reason
        where s.user_id = a_user and s.revoked_at is null
          and case when a_target is null then s.id <> a_keep else s.id = a_target end
        returning s.id)
    insert into revocations (kind, id, created_at, expires_at)
    select 'session', ended.id, the_now, the_now + a_ttl_ms from ended;
end $$;

-- Raises the user's version, which ends every session, and announces it.
create function latchkey_end_all(
    a_user uuid,
    a_reason text,
    a_offset_ms bigint,
    a_ttl_ms bigint
) returns void language plpgsql volatile as $$
declare
    the_now bigint := latchkey_now(a_offset_ms);
begin
    with raised as (
        update users u set version = u.version + 1, version_reason = a_reason
        where u.id = a_user returning u.version)
    insert into revocations (kind, id, min_version, created_at, expires_at)
    select 'subject', a_user::text, raised.version, the_now, the_now + a_ttl_ms from raised;
end $$;

-- Ends the target, or all but the caller's own. Says whether the caller's session was good, and how
-- many sessions of theirs the target is.
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
    the_user uuid := latchkey_caller(a_session, a_generation, a_grace_ms, a_offset_ms);
begin
    callers := case when the_user is null then 0 else 1 end;
    select count(*) into targets from sessions s where s.user_id = the_user and s.id = a_target;
    if the_user is not null then
        perform latchkey_end(the_user, a_target, a_session, 'logout', a_offset_ms, a_ttl_ms);
    end if;
end $$;

-- Ends every session of the caller's user; false if the caller's own was not good.
create function latchkey_end_all_sessions(
    a_session text,
    a_generation bigint,
    a_grace_ms bigint,
    a_offset_ms bigint,
    a_ttl_ms bigint
) returns boolean language plpgsql volatile as $$
declare
    the_user uuid := latchkey_caller(a_session, a_generation, a_grace_ms, a_offset_ms);
begin
    if the_user is null then
        return false;
    end if;
    perform latchkey_end_all(the_user, 'logout', a_offset_ms, a_ttl_ms);
    return true;
end $$;

-- Changes the password and ends sessions as asked; false if the caller's session was not good or
-- the password was changed meanwhile.
create function latchkey_change_password(
    a_session text,
    a_user uuid,
    a_password_version integer,
    a_hash text,
    a_sessions text,
    a_offset_ms bigint,
    a_ttl_ms bigint
) returns boolean language plpgsql volatile as $$
begin
    if latchkey_caller(a_session, null, 0, a_offset_ms) is distinct from a_user then
        return false;
    end if;
    update users u set password_hash = a_hash, password_version = u.password_version + 1
    where u.id = a_user and u.password_version = a_password_version;
    if not found then
        return false;
    end if;
    if a_sessions = 'all' then
        perform latchkey_end_all(a_user, 'password', a_offset_ms, a_ttl_ms);
    elsif a_sessions = 'others' then
        perform latchkey_end(a_user, null, a_session, 'password', a_offset_ms, a_ttl_ms);
    end if;
    return true;
end $$;
