-- The same for users and keys, in a migration of its own: one that locked users and sessions together could
-- block a refresh, and be blocked by it, for ever.

-- When the version was raised, as the program that raised it says; what triggers announce takes its time
-- from here where that is a sensible one.
alter table users add column changed_at bigint;

-- Whoever is disabled, or enabled again, has no session of before: the version is raised where the
-- statement did not raise it. It never goes down, since sessions that are over would be live again.
create function latchkey_keep_version() returns trigger language plpgsql as $$
begin
    if new.version < old.version then
        raise exception 'users.version of % would go down from % to %, and sessions that are over would be live again',
            old.id, old.version, new.version using hint = 'Raise it instead.';
    end if;
    if new.enabled <> old.enabled and new.version = old.version then
        new.version := old.version + 1;
        new.version_reason := 'disabled';
    end if;
    return new;
end $$;

create trigger users_version_kept before update of enabled, version on users
    for each row when (new.enabled <> old.enabled or new.version < old.version)
    execute function latchkey_keep_version();

create function latchkey_announce_user() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        perform latchkey_announce('subject', old.id::text, old.version + 1, null);
    else
        perform latchkey_announce('subject', new.id::text, new.version, new.changed_at);
    end if;
    return null;
end $$;

-- `enabled` too: then the version may have been raised by the trigger above.
create trigger users_announced after update of enabled, version on users
    for each row when (new.version > old.version and new.version > 0)
    execute function latchkey_announce_user();

create trigger users_deleted after delete on users
    for each row when (old.version >= 0) execute function latchkey_announce_user();

create trigger users_not_truncated before truncate on users
    for each statement execute function latchkey_refuse_truncate();

-- A signing key whose row is deleted while it is in use is as good as revoked: whoever deletes it wants
-- nothing accepted that it signed.
create function latchkey_announce_key() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        insert into revocations (kind, id, created_at) values ('key', old.id, latchkey_now(0));
    else
        insert into revocations (kind, id, created_at) values ('key', new.id, new.state_since);
    end if;
    return null;
end $$;

create trigger keys_announced after update of state on keys
    for each row
    when (new.purpose = 'sign' and new.state = 'revoked' and old.state <> 'revoked')
    execute function latchkey_announce_key();

create trigger keys_deleted after delete on keys
    for each row
    when (old.purpose = 'sign' and old.state in ('published', 'active', 'retiring'))
    execute function latchkey_announce_key();

-- Services refuse it for ever, whatever its row says later.
create function latchkey_keep_revoked() returns trigger language plpgsql as $$
begin
    raise exception 'key % is revoked for ever', old.id using hint = 'Publish another one: auth-service keys rotate.';
end $$;

create trigger keys_stay_revoked before update of state on keys
    for each row when (old.state = 'revoked' and new.state <> 'revoked')
    execute function latchkey_keep_revoked();

create trigger keys_not_truncated before truncate on keys
    for each statement execute function latchkey_refuse_truncate();

-- What follows announced by itself, and does no longer. `a_ttl_ms` is not used any more; services of the
-- version before still give it.

create or replace function latchkey_end(
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
    update sessions s set revoked_at = the_now, revoke_reason = a_reason
    where s.user_id = a_user and s.revoked_at is null
      and case when a_target is null then s.id <> a_keep else s.id = a_target end;
end $$;

create or replace function latchkey_end_all(
    a_user uuid,
    a_reason text,
    a_offset_ms bigint,
    a_ttl_ms bigint
) returns void language plpgsql volatile as $$
begin
    update users u
    set version = u.version + 1, version_reason = a_reason, changed_at = latchkey_now(a_offset_ms)
    where u.id = a_user;
end $$;

-- A refresh key's secret stays sealed when it is revoked: with it a token of that key still names the
-- session that its owner wants to be out of. Nothing else is done with it.
create or replace function latchkey_revoke_key(
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
    update keys k set state = 'revoked', state_since = the_now,
        sealed = case when k.purpose = 'refresh' then k.sealed else '' end
    where k.id = a_id;
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

-- Wiped once no token that it made can name a live session.
create or replace function latchkey_advance_keys(
    a_purpose text,
    a_lead_ms bigint,
    a_keep_ms bigint,
    a_offset_ms bigint
) returns boolean language plpgsql volatile as $$
declare
    the_now bigint;
    the_removed bigint;
    the_wiped bigint;
    the_promoted boolean;
begin
    perform 1 from keys k where k.purpose = a_purpose order by k.id for update;
    the_now := latchkey_now(a_offset_ms);
    update keys k set state = 'removed', state_since = the_now, sealed = ''
    where k.purpose = a_purpose and k.state = 'retiring' and k.state_since + a_keep_ms <= the_now;
    get diagnostics the_removed = row_count;
    update keys k set sealed = ''
    where k.purpose = a_purpose and k.state = 'revoked' and k.sealed <> ''
      and k.state_since + a_keep_ms <= the_now;
    get diagnostics the_wiped = row_count;
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
    return the_promoted or the_removed > 0 or the_wiped > 0;
end $$;

-- Likewise. The new column may be null, and no program of before looks at the secret of a revoked key.
insert into schema_compatibility (version, oldest_program) values (6, 4);
