-- The same as on Postgres; see there for the reasons.
create trigger invitations_changed after update on invitations
when new.id <> old.id or new.digest <> old.digest or new.email is not old.email
    or new.email_key is not old.email_key or new.expires_at <> old.expires_at
    or (old.used_at is not null and new.used_at is null)
    or (old.revoked_at is not null and new.revoked_at is null)
begin
    insert into events (at, kind, reason) select now, 'invitation-changed', new.id from latchkey_clock;
end;

insert into schema_compatibility (version, oldest_program) values (19, 4);
