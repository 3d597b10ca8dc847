-- The same as on Postgres; see there for the reasons.
create table invitations (
    id text primary key,
    digest blob not null unique check (length(digest) = 32),
    email text,
    email_key text,
    created_at integer not null,
    expires_at integer not null check (expires_at > created_at),
    used_at integer,
    user_id text,
    revoked_at integer,
    check ((email is null) = (email_key is null)),
    check ((used_at is null) = (user_id is null)),
    check (used_at is null or revoked_at is null)
) strict;

create trigger invitations_made after insert on invitations
begin
    insert into events (at, kind, reason) values (new.created_at, 'invited', new.id);
end;

create trigger invitations_used after update of used_at on invitations
when old.used_at is null and new.used_at is not null
begin
    insert into events (at, kind, user_id, reason)
    values (new.used_at, 'invitation-used', new.user_id, new.id);
end;

create trigger invitations_revoked after update of revoked_at on invitations
when old.revoked_at is null and new.revoked_at is not null
begin
    insert into events (at, kind, reason) values (new.revoked_at, 'invitation-revoked', new.id);
end;

insert into schema_compatibility (version, oldest_program) values (11, 4);
