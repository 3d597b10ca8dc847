-- Users who are deleted, other names for those who are there, and lists that are served by an index.
--
-- It locks users for a moment, and no other table: the indexes were built before it, while everybody went on reading
-- and writing (`store/postgres/migrating.rs`), unless the tables are new and empty.

-- What begins with a text is found by its bytes, whatever the collation of the database.
-- contract: it only makes indexes, none of them unique, where they are not there yet.
do $$ begin
    if to_regclass('users_by_name') is null then
        create index users_by_name on users (username_key collate "C");
    end if;
    if to_regclass('users_by_address') is null then
        create index users_by_address on users (email_key collate "C");
    end if;
    -- In the place of one on the user alone: the sessions of one user a batch at a time, however many they are.
    if to_regclass('sessions_of_user') is null then
        create index sessions_of_user on sessions (user_id, id);
    end if;
end $$;
-- contract: the index above it serves whatever this one served.
drop index if exists sessions_user_id;

-- When somebody was deleted. At that moment all of their sessions end, and their name and address are free; the row
-- stays, as one of a disabled user without a name, until housekeeping has forgotten the rest.
alter table users add column deleted_at bigint;

-- Whoever is deleted is disabled and has neither names nor a password; and nothing brings them back, not a program of
-- before either.
create function latchkey_keep_deleted() returns trigger
language plpgsql set search_path from current as $$
begin
    raise exception 'user % is deleted, or would be deleted in part', new.id
        using hint = 'Delete users by `auth-service user delete`; nothing brings one back.';
end $$;

-- contract: no program of before deletes anybody, and for it one who is deleted is disabled for good.
create trigger users_stay_deleted before update on users
    for each row
    when ((new.deleted_at is not null or old.deleted_at is not null)
        and (new.deleted_at is null or new.enabled or new.username <> '' or new.email is not null
            or new.email_key is not null or new.password_hash <> ''))
    execute function latchkey_keep_deleted();

-- The audit log tells that somebody was deleted, whatever path it takes, and then nothing else of that change. It
-- tells that a name or an address was changed, and neither the old one nor the new.
create or replace function latchkey_tell_user() returns trigger
language plpgsql set search_path from current as $$
declare
    the_now bigint := latchkey_now(0);
begin
    if tg_op = 'INSERT' then
        insert into events (at, kind, user_id) values (new.created_at, 'registered', new.id);
        -- Whoever watches who gets which role must see those who are made with one.
        if new.roles <> '' then
            insert into events (at, kind, user_id, reason)
            values (new.created_at, 'roles-changed', new.id, new.roles);
        end if;
        return null;
    end if;
    if tg_op = 'DELETE' then
        insert into events (at, kind, user_id) values (the_now, 'user-deleted', old.id);
        return null;
    end if;
    if new.deleted_at is not null then
        if old.deleted_at is null then
            insert into events (at, kind, user_id) values (the_now, 'user-deleted', new.id);
        end if;
        return null;
    end if;
    if new.username <> old.username then
        insert into events (at, kind, user_id) values (the_now, 'user-renamed', new.id);
    end if;
    if new.email is distinct from old.email then
        insert into events (at, kind, user_id) values (the_now, 'email-changed', new.id);
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

drop trigger users_told on users;
create trigger users_told
    after insert or update of enabled, password_version, version, roles, username, email, deleted_at on users
    for each row execute function latchkey_tell_user();

-- Of somebody who was deleted by the program it was told before.
create trigger users_gone after delete on users
    for each row when (old.deleted_at is null) execute function latchkey_tell_user();

-- The sessions of somebody who is deleted go one batch after the other. The one entry for the user, from the moment
-- at which they were deleted, covers all of them; a million entries would fill the memory of every service.
create or replace function latchkey_announce_session() returns trigger
language plpgsql set search_path from current as $$
begin
    if tg_op = 'UPDATE' then
        perform latchkey_announce('session', new.id, null, new.revoked_at);
    elsif exists (select from users u where u.id = old.user_id and u.deleted_at is null) then
        perform latchkey_announce('session', old.id, null, null);
    end if;
    -- Else the user is deleted too.
    return null;
end $$;

-- To older programs somebody who is deleted is somebody who is disabled and has no name.
insert into schema_compatibility (version, oldest_program) values (12, 4);
