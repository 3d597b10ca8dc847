-- Keys that change by themselves, and a trail of what happened.

-- A key is `published` (it checks already), then `active` (it makes tokens), then `retiring` (it still
-- checks), then `removed`; or `revoked` at once. `state_since` is when it entered its state.
alter table keys add column state_since bigint not null default 0;
update keys set state_since = created_at;
alter table keys drop column public_jwk;

-- One key makes the tokens of a purpose, whatever the algorithm of the next.
update keys k set state = 'retiring'
where k.state = 'active' and exists (
    select 1 from keys newer
    where newer.purpose = k.purpose and newer.state = 'active'
      and (newer.created_at, newer.id) > (k.created_at, k.id));
drop index keys_one_in_use;
create unique index keys_one_in_state on keys (purpose, state) where state in ('active', 'published');

-- Moves the keys of a purpose on: what was published for long enough takes over, and what no living
-- token can name any more is removed, secret and all. Says whether anything changed. Replicas may all
-- call it at once: they wait for each other, and the second finds nothing to do.
create function latchkey_advance_keys(
    a_purpose text,
    a_lead_ms bigint,
    a_keep_ms bigint,
    a_offset_ms bigint
) returns boolean language plpgsql volatile as $$
declare
    the_now bigint;
    the_removed bigint;
    the_promoted boolean;
begin
    perform 1 from keys k where k.purpose = a_purpose order by k.id for update;
    the_now := latchkey_now(a_offset_ms);
    update keys k set state = 'removed', state_since = the_now, sealed = ''
    where k.purpose = a_purpose and k.state = 'retiring' and k.state_since + a_keep_ms <= the_now;
    get diagnostics the_removed = row_count;
    the_promoted := exists (
        select 1 from keys k
        where k.purpose = a_purpose and k.state = 'published'
          and k.state_since + a_lead_ms <= the_now);
    if the_promoted then
        update keys k set state = 'retiring', state_since = the_now
        where k.purpose = a_purpose and k.state = 'active';
        update keys k set state = 'active', state_since = the_now
        where k.purpose = a_purpose and k.state = 'published';
    end if;
    return the_promoted or the_removed > 0;
end $$;

-- Revokes a key for ever, and announces that if it signs. Where it was the active one, the published
-- one takes its place at once, or the one that is given. False where there is no such key.
create function latchkey_revoke_key(
    a_id text,
    a_new_id text,
    a_new_algorithm text,
    a_new_sealed bytea,
    a_offset_ms bigint
) returns boolean language plpgsql volatile as $$
declare
    the_purpose text;
    the_state text;
    the_now bigint;
begin
    select k.purpose into the_purpose from keys k where k.id = a_id;
    perform 1 from keys k where k.purpose = the_purpose order by k.id for update;
    select k.state into the_state from keys k where k.id = a_id;
    if the_state is null or the_state = 'revoked' then
        return the_state is not null;
    end if;
    the_now := latchkey_now(a_offset_ms);
    update keys k set state = 'revoked', state_since = the_now, sealed = '' where k.id = a_id;
    if the_purpose = 'sign' then
        insert into revocations (kind, id, created_at) values ('key', a_id, the_now);
    end if;
    if the_state = 'active' then
        update keys k set state = 'active', state_since = the_now
        where k.purpose = the_purpose and k.state = 'published';
        if not found then
            insert into keys (id, purpose, algorithm, state, sealed, created_at, state_since)
            values (a_new_id, the_purpose, a_new_algorithm, 'active', a_new_sealed, the_now, the_now);
        end if;
    end if;
    return true;
end $$;

-- What happened, for the owner of an account and for whoever looks after the service. Rows are only
-- added, and deleted when they are old. No reference to users: the trail outlives them.
create table events (
    id bigint generated always as identity primary key,
    at bigint not null,
    kind text not null,
    user_id uuid,
    session_id text,
    -- Why a session ended; which limit; which key.
    reason text,
    -- From where, as it stands in the session.
    ip text,
    user_agent text,
    -- At a replay: who had the token before.
    other_ip text,
    other_user_agent text,
    -- Where there is no session to tell it: pseudonyms of the name tried and of the network.
    subject text,
    origin text
);

create index events_user_id on events (user_id, id) where user_id is not null;

-- Triggers, so that nothing can happen without being told: in the same commit, whoever did it, an
-- administrator with psql too. A refresh touches none of these columns.
create function latchkey_tell_session() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into events (at, kind, user_id, session_id, ip, user_agent)
        values (new.created_at, 'login', new.user_id, new.id, new.ip, new.user_agent);
    else
        insert into events (at, kind, user_id, session_id, reason)
        values (new.revoked_at, 'session-ended', new.user_id, new.id, new.revoke_reason);
    end if;
    return null;
end $$;

create trigger sessions_opened after insert on sessions
    for each row execute function latchkey_tell_session();

-- A replay is told by the statement that notices it, with both contexts.
create trigger sessions_ended after update of revoked_at on sessions
    for each row
    when (old.revoked_at is null and new.revoked_at is not null
        and new.revoke_reason is distinct from 'reuse')
    execute function latchkey_tell_session();

create function latchkey_tell_user() returns trigger language plpgsql as $$
declare
    the_now bigint := latchkey_now(0);
begin
    if tg_op = 'INSERT' then
        insert into events (at, kind, user_id) values (new.created_at, 'registered', new.id);
        return null;
    end if;
    if new.enabled <> old.enabled then
        insert into events (at, kind, user_id)
        values (the_now, case when new.enabled then 'user-enabled' else 'user-disabled' end, new.id);
    end if;
    if new.password_version <> old.password_version then
        insert into events (at, kind, user_id) values (the_now, 'password-changed', new.id);
    end if;
    if new.roles <> old.roles then
        insert into events (at, kind, user_id, reason)
        values (the_now, 'roles-changed', new.id, new.roles);
    end if;
    -- Enabling raises the version too; there is no session left to end then.
    if new.version <> old.version and new.enabled <= old.enabled then
        insert into events (at, kind, user_id, reason)
        values (the_now, 'all-sessions-ended', new.id, new.version_reason);
    end if;
    return null;
end $$;

create trigger users_told after insert or update of enabled, password_version, version, roles on users
    for each row execute function latchkey_tell_user();

create function latchkey_tell_key() returns trigger language plpgsql as $$
begin
    insert into events (at, kind, reason) values (new.state_since, 'key-' || new.state, new.id);
    return null;
end $$;

create trigger keys_told after insert or update of state on keys
    for each row execute function latchkey_tell_key();
