-- The same as on Postgres; see there for the reasons. Names and addresses are compared by their bytes here in any
-- case, so the indexes that keep them unique serve a search too.
create index sessions_of_user on sessions (user_id, id);
-- contract: the index above it serves whatever this one served.
drop index sessions_user_id;

alter table users add column deleted_at integer;

-- contract: no program of before deletes anybody, and for it one who is deleted is disabled for good.
create trigger users_stay_deleted before update on users
when (new.deleted_at is not null or old.deleted_at is not null)
    and (new.deleted_at is null or new.enabled or new.username <> '' or new.email is not null
        or new.email_key is not null or new.password_hash <> '')
begin
    select raise(abort, 'this user is deleted, or would be deleted in part: delete users by `auth-service user delete`; nothing brings one back');
end;

create trigger users_deleted_told after update of deleted_at on users
when new.deleted_at is not null and old.deleted_at is null
begin
    insert into events (at, kind, user_id) select now, 'user-deleted', new.id from latchkey_clock;
end;

create trigger users_gone after delete on users
when old.deleted_at is null
begin
    insert into events (at, kind, user_id) select now, 'user-deleted', old.id from latchkey_clock;
end;

create trigger users_made_with_roles after insert on users
when new.roles <> ''
begin
    insert into events (at, kind, user_id, reason)
    values (new.created_at, 'roles-changed', new.id, new.roles);
end;

create trigger users_renamed after update of username on users
when new.username <> old.username and new.deleted_at is null
begin
    insert into events (at, kind, user_id) select now, 'user-renamed', new.id from latchkey_clock;
end;

create trigger users_email after update of email on users
when new.email is not old.email and new.deleted_at is null
begin
    insert into events (at, kind, user_id) select now, 'email-changed', new.id from latchkey_clock;
end;

drop trigger users_enabled;
create trigger users_enabled after update of enabled on users
when new.enabled <> old.enabled and new.deleted_at is null
begin
    insert into events (at, kind, user_id)
    select now, case when new.enabled then 'user-enabled' else 'user-disabled' end, new.id
    from latchkey_clock;
end;

drop trigger users_password;
create trigger users_password after update of password_version on users
when new.password_version <> old.password_version and new.deleted_at is null
begin
    insert into events (at, kind, user_id)
    select now, 'password-changed', new.id from latchkey_clock;
end;

drop trigger users_roles;
create trigger users_roles after update of roles on users
when new.roles <> old.roles and new.deleted_at is null
begin
    insert into events (at, kind, user_id, reason)
    select now, 'roles-changed', new.id, new.roles from latchkey_clock;
end;

drop trigger users_version;
create trigger users_version after update of version on users
when new.version <> old.version and not (new.enabled and new.version_reason is 'disabled')
    and new.deleted_at is null
begin
    insert into events (at, kind, user_id, reason)
    select now, 'all-sessions-ended', new.id, new.version_reason from latchkey_clock;
end;

drop trigger sessions_deleted;
create trigger sessions_deleted after delete on sessions
when old.revoked_at is null
    and old.idle_expires_at > (select now - 990000 from latchkey_clock)
    and exists (select 1 from users where id = old.user_id and deleted_at is null)
begin
    insert into revocations (kind, id, created_at, expires_at)
    select 'session', old.id, now, now + 990000 from latchkey_clock;
end;

insert into schema_compatibility (version, oldest_program) values (12, 4);
