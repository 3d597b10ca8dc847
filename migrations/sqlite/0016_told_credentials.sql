-- The same as on Postgres; see there for the reasons. There are no roles here.
drop trigger users_renamed;
create trigger users_renamed after update of username, username_key on users
when (new.username <> old.username or new.username_key <> old.username_key) and new.deleted_at is null
begin
    insert into events (at, kind, user_id) select now, 'user-renamed', new.id from latchkey_clock;
end;

drop trigger users_email;
create trigger users_email after update of email, email_key on users
when (new.email is not old.email or new.email_key is not old.email_key) and new.deleted_at is null
begin
    insert into events (at, kind, user_id) select now, 'email-changed', new.id from latchkey_clock;
end;

create trigger users_rehashed after update of password_hash on users
when new.password_hash <> old.password_hash and new.password_version = old.password_version
    and new.deleted_at is null
begin
    insert into events (at, kind, user_id) select now, 'password-rehashed', new.id from latchkey_clock;
end;

insert into schema_compatibility (version, oldest_program) values (16, 4);
