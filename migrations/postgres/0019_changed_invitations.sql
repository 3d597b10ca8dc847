-- An invitation is a credential: who gets another secret, another address or more time into it, or opens it again, can
-- register. Only what is done by hand does so, and it is told. It locks invitations for a moment, and no other table.
create function latchkey_tell_changed_invitation() returns trigger language plpgsql security definer as $$
begin
    insert into events (at, kind, reason) values (latchkey_now(0), 'invitation-changed', new.id::text);
    return null;
end $$;

-- Temporary tables come last in where it looks.
-- contract: the function is new, and no program of before calls it.
do $$ begin
    execute format('alter function latchkey_tell_changed_invitation() set search_path to %I, pg_temp', current_schema());
    -- Nobody hangs it on a table of their own.
    revoke execute on function latchkey_tell_changed_invitation() from public;
end $$;

create trigger invitations_changed after update on invitations
    for each row
    when (new.id <> old.id or new.digest <> old.digest or new.email is distinct from old.email
        or new.email_key is distinct from old.email_key or new.expires_at <> old.expires_at
        or (old.used_at is not null and new.used_at is null)
        or (old.revoked_at is not null and new.revoked_at is null))
    execute function latchkey_tell_changed_invitation();

-- No program changes an invitation otherwise than by using or revoking it.
insert into schema_compatibility (version, oldest_program) values (19, 4);
