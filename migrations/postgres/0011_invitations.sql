-- Invitations, for where `registration` is "invite". A token is kept nowhere, only its digest. A row stays for a
-- while after its end, so that administrators see what became of it.
create table invitations (
    id uuid primary key,
    -- SHA-256 of the secret in the token.
    digest bytea not null unique check (length(digest) = 32),
    -- Who registers with it must give this address, as it is compared; null: any address, or none.
    email text,
    email_key text,
    created_at bigint not null,
    expires_at bigint not null check (expires_at > created_at),
    -- When it was used, and who registered with it. No reference to users: this outlives them.
    used_at bigint,
    user_id uuid,
    revoked_at bigint,
    check ((email is null) = (email_key is null)),
    check ((used_at is null) = (user_id is null)),
    check (used_at is null or revoked_at is null)
);

-- In the commit of the change, whoever makes it.
create function latchkey_tell_invitation() returns trigger
language plpgsql set search_path from current as $$
begin
    if tg_op = 'INSERT' then
        insert into events (at, kind, reason) values (new.created_at, 'invited', new.id::text);
    elsif old.used_at is null and new.used_at is not null then
        insert into events (at, kind, user_id, reason)
        values (new.used_at, 'invitation-used', new.user_id, new.id::text);
    elsif old.revoked_at is null and new.revoked_at is not null then
        insert into events (at, kind, reason) values (new.revoked_at, 'invitation-revoked', new.id::text);
    end if;
    return null;
end $$;

create trigger invitations_told after insert or update of used_at, revoked_at on invitations
    for each row execute function latchkey_tell_invitation();

-- A new table, which older programs do not know: whoever registers there needs no invitation.
insert into schema_compatibility (version, oldest_program) values (11, 4);
