-- SQLite has no functions and one schema. But `insert or replace` removes a row without a trigger that sees it
-- go, so a user could lose their version and their sessions without a word. It is refused.
create trigger users_not_replaced before insert on users
    when exists (select 1 from users u where u.id = new.id)
begin
    select raise(abort, 'replacing a user would tell no service that their sessions are gone: use UPDATE');
end;

create trigger sessions_not_replaced before insert on sessions
    when exists (select 1 from sessions s where s.id = new.id)
begin
    select raise(abort, 'replacing a session would tell no service that it is gone: use UPDATE');
end;

-- No program replaces a row.
insert into schema_compatibility (version, oldest_program) values (9, 4);
