-- Every change of a credential or of an address is told, whoever makes it: also one of the hash alone, or of the form in
-- which a name or an address is compared and by which somebody logs in. It locks users for a moment, and no other table.
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
    if new.username <> old.username or new.username_key <> old.username_key then
        insert into events (at, kind, user_id) values (the_now, 'user-renamed', new.id);
    end if;
    if new.email is distinct from old.email or new.email_key is distinct from old.email_key then
        insert into events (at, kind, user_id) values (the_now, 'email-changed', new.id);
    end if;
    if new.enabled <> old.enabled then
        insert into events (at, kind, user_id)
        values (the_now, case when new.enabled then 'user-enabled' else 'user-disabled' end, new.id);
    end if;
    if new.password_version <> old.password_version then
        insert into events (at, kind, user_id) values (the_now, 'password-changed', new.id);
    -- The service makes a hash anew after a login, of the same password. Nobody can see in it whether it is of another.
    elsif new.password_hash <> old.password_hash then
        insert into events (at, kind, user_id) values (the_now, 'password-rehashed', new.id);
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
    after insert or update of enabled, password_version, password_hash, version, roles, username, username_key,
        email, email_key, deleted_at on users
    for each row execute function latchkey_tell_user();

-- Whoever serves and is not the owner of the table deletes nobody who was not deleted by the program before.
create function latchkey_keep_user() returns trigger
language plpgsql set search_path from current as $$
begin
    if pg_has_role((select c.relowner from pg_class c where c.oid = tg_relid), 'usage') then
        return old;
    end if;
    raise exception 'user % is not deleted yet', old.id
        using errcode = 'insufficient_privilege',
            hint = 'Delete users by `auth-service user delete`, or as the owner of the table.';
end $$;

-- contract: programs of before delete only rows of users who are deleted.
create trigger users_not_deleted_stay before delete on users
    for each row when (old.deleted_at is null) execute function latchkey_keep_user();

-- Programs of before make the same changes, and read a kind of entry that they do not know as it is.
insert into schema_compatibility (version, oldest_program) values (16, 4);
