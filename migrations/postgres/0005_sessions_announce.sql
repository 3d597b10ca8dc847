-- Triggers announce, so that services hear of the end of a session whatever ended it: a request, a command,
-- or somebody with psql. They run as whoever makes the change, in the same commit.

-- Adds an entry that lives for as long as any token that it could kill (990 seconds: a test holds this
-- number and REVOCATION_TTL_SECONDS together).
--
-- `a_at` is the time that the changed row gives, which a test's offset may have moved; null where there is
-- none. Somebody may have written it by hand, in seconds, or in another century: then the entry would
-- expire at once, or never, and the clock counts instead.
create function latchkey_announce(
    a_kind text,
    a_id text,
    a_min_version integer,
    a_at bigint
) returns void language plpgsql volatile as $$
declare
    the_time bigint := latchkey_now(0);
begin
    if a_at between the_time and the_time + 315360000000 then
        the_time := a_at;
    end if;
    insert into revocations (kind, id, min_version, created_at, expires_at)
    values (a_kind, a_id, a_min_version, the_time, the_time + 990000);
end $$;

create function latchkey_announce_session() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' then
        perform latchkey_announce('session', new.id, null, new.revoked_at);
    elsif exists (select from users u where u.id = old.user_id) then
        perform latchkey_announce('session', old.id, null, null);
    end if;
    -- Else the user is deleted too, and one entry for the user covers all of their sessions.
    return null;
end $$;

-- A refresh does not touch this column.
create trigger sessions_announced after update of revoked_at on sessions
    for each row when (old.revoked_at is null and new.revoked_at is not null)
    execute function latchkey_announce_session();

-- Not where it ended before, and not where its last token is dead: what is purged has been over for days.
create trigger sessions_deleted after delete on sessions
    for each row
    when (old.revoked_at is null and old.idle_expires_at > latchkey_now(0) - 990000)
    execute function latchkey_announce_session();

-- No trigger for rows sees what TRUNCATE takes.
create function latchkey_refuse_truncate() returns trigger language plpgsql as $$
begin
    raise exception 'truncating "%" would tell no service that its sessions, users or keys are gone',
        tg_table_name using hint = 'Use DELETE, which announces what it deletes.';
end $$;

create trigger sessions_not_truncated before truncate on sessions
    for each statement execute function latchkey_refuse_truncate();

-- The audit log took the time from the row as it was; a time that nobody can show stood in the way of the
-- owner's list.
create or replace function latchkey_tell_session() returns trigger language plpgsql as $$
declare
    the_time bigint := latchkey_now(0);
begin
    if tg_op = 'INSERT' then
        insert into events (at, kind, user_id, session_id, ip, user_agent)
        values (new.created_at, 'login', new.user_id, new.id, new.ip, new.user_agent);
    else
        if new.revoked_at between the_time - 315360000000 and the_time + 315360000000 then
            the_time := new.revoked_at;
        end if;
        insert into events (at, kind, user_id, session_id, reason)
        values (the_time, 'session-ended', new.user_id, new.id, new.revoke_reason);
    end if;
    return null;
end $$;

-- A program of before announces by itself too: twice is as good as once.
insert into schema_compatibility (version, oldest_program) values (5, 4);
