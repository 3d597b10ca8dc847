-- The same as on Postgres; see there for the reasons. What is a function there is a transaction in the
-- store.
alter table keys add column state_since integer not null default 0;
update keys set state_since = created_at;
alter table keys drop column public_jwk;

update keys set state = 'retiring'
where state = 'active' and exists (
    select 1 from keys newer
    where newer.purpose = keys.purpose and newer.state = 'active'
      and (newer.created_at, newer.id) > (keys.created_at, keys.id));
drop index keys_one_in_use;
create unique index keys_one_in_state on keys (purpose, state) where state in ('active', 'published');

create table events (
    id integer primary key autoincrement,
    at integer not null,
    kind text not null,
    user_id text,
    session_id text,
    reason text,
    ip text,
    user_agent text,
    other_ip text,
    other_user_agent text,
    subject text,
    origin text
) strict;

create index events_user_id on events (user_id, id) where user_id is not null;

create trigger sessions_opened after insert on sessions
begin
    insert into events (at, kind, user_id, session_id, ip, user_agent)
    values (new.created_at, 'login', new.user_id, new.id, new.ip, new.user_agent);
end;

create trigger sessions_ended after update of revoked_at on sessions
when old.revoked_at is null and new.revoked_at is not null and new.revoke_reason is not 'reuse'
begin
    insert into events (at, kind, user_id, session_id, reason)
    values (new.revoked_at, 'session-ended', new.user_id, new.id, new.revoke_reason);
end;

create trigger users_registered after insert on users
begin
    insert into events (at, kind, user_id) values (new.created_at, 'registered', new.id);
end;

create trigger users_enabled after update of enabled on users
when new.enabled <> old.enabled
begin
    insert into events (at, kind, user_id)
    values (cast(unixepoch('subsec') * 1000 as integer),
        case when new.enabled then 'user-enabled' else 'user-disabled' end, new.id);
end;

create trigger users_password after update of password_version on users
when new.password_version <> old.password_version
begin
    insert into events (at, kind, user_id)
    values (cast(unixepoch('subsec') * 1000 as integer), 'password-changed', new.id);
end;

create trigger users_roles after update of roles on users
when new.roles <> old.roles
begin
    insert into events (at, kind, user_id, reason)
    values (cast(unixepoch('subsec') * 1000 as integer), 'roles-changed', new.id, new.roles);
end;

-- On enabling there is no session left to end.
create trigger users_version after update of version on users
when new.version <> old.version and not (new.enabled and new.version_reason is 'disabled')
begin
    insert into events (at, kind, user_id, reason)
    values (cast(unixepoch('subsec') * 1000 as integer), 'all-sessions-ended', new.id,
        new.version_reason);
end;

create trigger keys_added after insert on keys
begin
    insert into events (at, kind, reason) values (new.state_since, 'key-' || new.state, new.id);
end;

create trigger keys_moved after update of state on keys
begin
    insert into events (at, kind, reason) values (new.state_since, 'key-' || new.state, new.id);
end;
