-- A bound on the live sessions of a user, and an end in steps for very many of them.
--
-- Each function locks the user first and looks afterwards (see `latchkey_caller`), so that whatever two of
-- them do to one user happens one after the other.

-- Ends the listed sessions, where they were not ended yet. A trigger announces each.
create function latchkey_end_listed(
    a_ids text[],
    a_reason text,
    a_offset_ms bigint
) returns void language plpgsql volatile as $$
declare
    the_now bigint := latchkey_now(a_offset_ms);
begin
    update sessions s set revoked_at = the_now, revoke_reason = a_reason
    where s.id = any(a_ids) and s.revoked_at is null;
end $$;

-- At most `a_batch` of the user's sessions that could be used, all but `a_keep`.
create function latchkey_other_sessions(
    a_user uuid,
    a_keep text,
    a_batch bigint
) returns text[] language plpgsql volatile as $$
declare
    the_version integer;
begin
    select u.version into the_version from users u where u.id = a_user;
    return array(
        select s.id from sessions s
        where s.user_id = a_user and s.subject_version = the_version and s.revoked_at is null
          and s.id <> a_keep
        limit a_batch);
end $$;

-- Ends what a user has beyond `a_most` live sessions, at most `a_batch` of it: first those that were never
-- refreshed, then those that were not used for longest; never `a_keep`. Says how many it ended. The user
-- must be locked.
create function latchkey_end_surplus(
    a_user uuid,
    a_version integer,
    a_keep text,
    a_most bigint,
    a_batch bigint,
    a_offset_ms bigint
) returns bigint language plpgsql volatile as $$
declare
    the_now bigint := latchkey_now(a_offset_ms);
    the_surplus bigint;
    the_ids text[];
begin
    select count(*) - a_most into the_surplus from sessions s
    where s.user_id = a_user and s.subject_version = a_version and s.revoked_at is null
      and the_now < s.idle_expires_at;
    if the_surplus <= 0 then
        return 0;
    end if;
    the_ids := array(
        select s.id from sessions s
        where s.user_id = a_user and s.subject_version = a_version and s.revoked_at is null
          and the_now < s.idle_expires_at and s.id is distinct from a_keep
        order by s.rotated_at is not null, coalesce(s.rotated_at, s.created_at), s.id
        limit least(the_surplus, a_batch));
    perform latchkey_end_listed(the_ids, 'limit', a_offset_ms);
    return cardinality(the_ids);
end $$;

-- The same for a user who need not be locked yet.
create function latchkey_trim_sessions(
    a_user uuid,
    a_most bigint,
    a_batch bigint,
    a_offset_ms bigint
) returns bigint language plpgsql volatile as $$
declare
    the_version integer;
begin
    select u.version into the_version from users u where u.id = a_user for no key update;
    return latchkey_end_surplus(a_user, the_version, null, a_most, a_batch, a_offset_ms);
end $$;

-- Opens a session where the user is enabled and both versions are what was read with the credentials, ends
-- the one that it replaces, and ends what is beyond `a_most` live sessions (0: no bound). No row: nothing
-- was opened.
create function latchkey_open_session(
    a_user uuid,
    a_version integer,
    a_password_version integer,
    a_session text,
    a_client text,
    a_scope text,
    a_idle_ms bigint,
    a_absolute_ms bigint,
    a_amr text,
    a_device text,
    a_user_agent text,
    a_ip text,
    a_replaces text,
    a_most bigint,
    a_batch bigint,
    a_offset_ms bigint
) returns table (opened_at bigint, opened sessions, account users) language plpgsql volatile as $$
begin
    select u.* into account from users u where u.id = a_user for no key update;
    if not coalesce(account.enabled and account.version = a_version
            and account.password_version = a_password_version, false) then
        return;
    end if;
    opened_at := latchkey_now(a_offset_ms);
    insert into sessions as s (id, user_id, client_id, scope, subject_version, idle_expires_at,
        expires_at, auth_time, amr, device, user_agent, ip, created_at)
    values (a_session, a_user, a_client, a_scope, a_version,
        opened_at + least(a_idle_ms, a_absolute_ms), opened_at + a_absolute_ms, opened_at, a_amr,
        a_device, a_user_agent, a_ip, opened_at)
    returning s.* into opened;
    if a_replaces is not null then
        perform latchkey_end_listed(array[a_replaces], 'logout', a_offset_ms);
    end if;
    if a_most > 0 then
        perform latchkey_end_surplus(a_user, a_version, a_session, a_most, a_batch, a_offset_ms);
    end if;
    return next;
end $$;

-- Ends the target, if the caller's user has it. Says whether the caller's session was good, and how many
-- sessions of theirs the target is.
create function latchkey_end_one_session(
    a_session text,
    a_generation bigint,
    a_grace_ms bigint,
    a_target text,
    a_offset_ms bigint,
    out callers bigint,
    out targets bigint
) language plpgsql volatile as $$
declare
    the_user uuid := latchkey_caller(a_session, a_generation, a_grace_ms, a_offset_ms);
begin
    callers := case when the_user is null then 0 else 1 end;
    select count(*) into targets from sessions s where s.id = a_target and s.user_id = the_user;
    if targets > 0 then
        perform latchkey_end_listed(array[a_target], 'logout', a_offset_ms);
    end if;
end $$;

-- Ends at most `a_batch` sessions of the caller's user, all but the caller's own. Says how many; null if the
-- caller's was not good. Fewer than `a_batch`: there is no other one any more.
create function latchkey_end_other_sessions(
    a_session text,
    a_generation bigint,
    a_grace_ms bigint,
    a_batch bigint,
    a_offset_ms bigint
) returns bigint language plpgsql volatile as $$
declare
    the_user uuid := latchkey_caller(a_session, a_generation, a_grace_ms, a_offset_ms);
    the_ids text[];
begin
    if the_user is null then
        return null;
    end if;
    the_ids := latchkey_other_sessions(the_user, a_session, a_batch);
    perform latchkey_end_listed(the_ids, 'logout', a_offset_ms);
    return cardinality(the_ids);
end $$;

-- Changes the password and ends sessions as asked. Where other sessions are to end and there are `a_batch`
-- or more, it ends so many, changes nothing yet and says so by that number: the last step, which ends
-- fewer, changes the password and leaves no other session at the same moment. Null if the caller's session
-- was not good or the password was changed meanwhile.
create function latchkey_change_own_password(
    a_session text,
    a_user uuid,
    a_password_version integer,
    a_hash text,
    a_sessions text,
    a_batch bigint,
    a_offset_ms bigint
) returns bigint language plpgsql volatile as $$
declare
    the_ids text[] := '{}';
begin
    if latchkey_caller(a_session, null, 0, a_offset_ms) is distinct from a_user then
        return null;
    end if;
    perform 1 from users u where u.id = a_user and u.password_version = a_password_version;
    if not found then
        return null;
    end if;
    if a_sessions = 'others' then
        the_ids := latchkey_other_sessions(a_user, a_session, a_batch);
        perform latchkey_end_listed(the_ids, 'password', a_offset_ms);
    end if;
    if cardinality(the_ids) < a_batch then
        update users u set password_hash = a_hash, password_version = u.password_version + 1
        where u.id = a_user;
        if a_sessions = 'all' then
            perform latchkey_end_all(a_user, 'password', a_offset_ms, 0);
        end if;
    end if;
    return cardinality(the_ids);
end $$;

-- Older programs call none of these functions. They read the reason `limit` as one that they do not know,
-- which they tell as `admin`.
insert into schema_compatibility (version, oldest_program) values (8, 4);
