-- The same as on Postgres; see there for the reasons. There are no roles here: whoever may write the file may do all.
alter table events add column times integer not null default 1;
alter table events add column last_at integer;
alter table events add column repeat_of text;

-- contract: the column is new, and no program of before writes it.
create unique index events_repeat_of on events (repeat_of) where repeat_of is not null;

create index events_of_changes on events (user_id, id) where user_id is not null
    and kind not in ('login', 'session-ended', 'login-failed', 'refresh-replayed');
create index events_replayed on events (user_id, id)
    where user_id is not null and kind = 'refresh-replayed';

insert into schema_compatibility (version, oldest_program) values (15, 4);
