-- The same as on Postgres; see there for the reasons. Nothing here is newer than SQLite 3.40, because the
-- triggers also run in the `sqlite3` of whoever changes something by hand.

-- This machine's clock in Unix milliseconds.
create view latchkey_clock as
    select cast((julianday('now') - 2440587.5) * 86400000 as integer) as now;

create trigger sessions_announced after update of revoked_at on sessions
when old.revoked_at is null and new.revoked_at is not null
begin
    insert into revocations (kind, id, created_at, expires_at)
    select 'session', new.id, at, at + 990000
    from (select case when new.revoked_at between now and now + 315360000000 then new.revoked_at else now end
        as at from latchkey_clock);
end;

create trigger sessions_deleted after delete on sessions
when old.revoked_at is null
    and old.idle_expires_at > (select now - 990000 from latchkey_clock)
    and exists (select 1 from users where id = old.user_id)
begin
    insert into revocations (kind, id, created_at, expires_at)
    select 'session', old.id, now, now + 990000 from latchkey_clock;
end;

drop trigger sessions_ended;
create trigger sessions_ended after update of revoked_at on sessions
when old.revoked_at is null and new.revoked_at is not null and new.revoke_reason is not 'reuse'
begin
    insert into events (at, kind, user_id, session_id, reason)
    select case when new.revoked_at between now - 315360000000 and now + 315360000000
        then new.revoked_at else now end, 'session-ended', new.user_id, new.id, new.revoke_reason
    from latchkey_clock;
end;

-- A program of before announces by itself too: twice is as good as once.
insert into schema_compatibility (version, oldest_program) values (5, 4);
