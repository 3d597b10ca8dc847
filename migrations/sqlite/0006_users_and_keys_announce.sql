-- The same as on Postgres; see there for the reasons.

alter table users add column changed_at integer;

create trigger users_version_kept before update of version on users
when new.version < old.version
begin
    select raise(abort, 'users.version would go down, and sessions that are over would be live again: raise it instead');
end;

-- A trigger cannot change the row before it is written; this one changes it again.
create trigger users_version_raised after update of enabled on users
when new.enabled <> old.enabled and new.version = old.version
begin
    update users set version = version + 1, version_reason = 'disabled' where id = new.id;
end;

create trigger users_announced after update of version on users
when new.version > old.version and new.version > 0
begin
    insert into revocations (kind, id, min_version, created_at, expires_at)
    select 'subject', new.id, new.version, at, at + 990000
    from (select case when new.changed_at between now and now + 315360000000 then new.changed_at else now end
        as at from latchkey_clock);
end;

create trigger users_deleted after delete on users
when old.version >= 0
begin
    insert into revocations (kind, id, min_version, created_at, expires_at)
    select 'subject', old.id, old.version + 1, now, now + 990000 from latchkey_clock;
end;

create trigger keys_announced after update of state on keys
when new.purpose = 'sign' and new.state = 'revoked' and old.state <> 'revoked'
begin
    insert into revocations (kind, id, created_at) values ('key', new.id, new.state_since);
end;

create trigger keys_deleted after delete on keys
when old.purpose = 'sign' and old.state in ('published', 'active', 'retiring')
begin
    insert into revocations (kind, id, created_at) select 'key', old.id, now from latchkey_clock;
end;

create trigger keys_stay_revoked before update of state on keys
when old.state = 'revoked' and new.state <> 'revoked'
begin
    select raise(abort, 'this key is revoked for ever; publish another one: auth-service keys rotate');
end;

-- The audit log's triggers asked for the time in a way that SQLite 3.40 does not know, and so a change by hand
-- failed there.
drop trigger users_enabled;
create trigger users_enabled after update of enabled on users
when new.enabled <> old.enabled
begin
    insert into events (at, kind, user_id)
    select now, case when new.enabled then 'user-enabled' else 'user-disabled' end, new.id
    from latchkey_clock;
end;

drop trigger users_password;
create trigger users_password after update of password_version on users
when new.password_version <> old.password_version
begin
    insert into events (at, kind, user_id)
    select now, 'password-changed', new.id from latchkey_clock;
end;

drop trigger users_roles;
create trigger users_roles after update of roles on users
when new.roles <> old.roles
begin
    insert into events (at, kind, user_id, reason)
    select now, 'roles-changed', new.id, new.roles from latchkey_clock;
end;

drop trigger users_version;
create trigger users_version after update of version on users
when new.version <> old.version and not (new.enabled and new.version_reason is 'disabled')
begin
    insert into events (at, kind, user_id, reason)
    select now, 'all-sessions-ended', new.id, new.version_reason from latchkey_clock;
end;

-- Likewise. The new column may be null, and no program of before looks at the secret of a revoked key.
insert into schema_compatibility (version, oldest_program) values (6, 4);
