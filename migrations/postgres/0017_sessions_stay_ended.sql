-- A session that is over stays over, and nobody who only serves deletes one that may be live. A refresh sets none of these
-- columns. It locks sessions for a moment, and no other table.
create function latchkey_keep_session() returns trigger
language plpgsql set search_path from current as $$
begin
    if tg_op = 'UPDATE' then
        raise exception 'session % would be live again, or of somebody else', old.id
            using hint = 'What ended a session is announced and stays so: let its user log in.';
    end if;
    if pg_has_role((select c.relowner from pg_class c where c.oid = tg_relid), 'usage')
            or exists (select from users u where u.id = old.user_id and u.deleted_at is not null) then
        return old;
    end if;
    raise exception 'session % may be live', old.id
        using errcode = 'insufficient_privilege',
            hint = 'End it by `auth-service session revoke`, or delete it as the owner of the table.';
end $$;

-- contract: no program of before takes the end of a session back, or gives it another user or version.
create trigger sessions_stay_ended before update of revoked_at, subject_version, user_id on sessions
    for each row
    when ((old.revoked_at is not null and new.revoked_at is null)
        or new.subject_version <> old.subject_version or new.user_id <> old.user_id)
    execute function latchkey_keep_session();

-- contract: programs of before delete what has been over for seven days, or is of a user who is deleted.
create trigger sessions_live_stay before delete on sessions
    for each row
    when (old.revoked_at is null and old.idle_expires_at > latchkey_now(0) - 82800000)
    execute function latchkey_keep_session();

insert into schema_compatibility (version, oldest_program) values (17, 4);
