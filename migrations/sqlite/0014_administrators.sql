-- The same as on Postgres; see there for the reasons.
alter table events add column actor text;

-- A transaction cannot be given a setting here. Whoever acts for an administrator writes the row at the beginning of
-- the transaction and deletes it at its end, so nobody else ever sees one.
create table acting (
    id integer primary key check (id = 1),
    administrator text not null
) strict;

-- contract: only a program that knows the new table ever has a row in it.
create trigger events_acted after insert on events
when exists (select 1 from acting)
begin
    update events set actor = (select administrator from acting) where id = new.id;
end;

create table idempotency_keys (
    administrator text not null,
    key text not null,
    request text not null,
    result text not null,
    created_at integer not null,
    primary key (administrator, key)
) strict;

create index idempotency_keys_created_at on idempotency_keys (created_at);

insert into schema_compatibility (version, oldest_program) values (14, 4);
