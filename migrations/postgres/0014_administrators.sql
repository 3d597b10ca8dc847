-- Administrators over HTTP: who made a change is in the audit log, and what was asked for once is done once.

-- The administrator who had it changed; null: the owner, a stranger, the service itself, or whoever has the
-- database. The one who writes says it, for the transaction: `set_config('latchkey.actor', …, true)`. As a default,
-- so that every trigger tells it, those of later migrations too. Set apart from the column, which is thus null in
-- what was told before, and for which no row is written anew.
alter table events add column actor uuid;
-- contract: the column is new, and no program of before names it.
alter table events alter column actor set default nullif(current_setting('latchkey.actor', true), '')::uuid;

-- What an administrator asked for with an Idempotency-Key, for a day. What was answered is not here, only the id of
-- what was made: an answer may have names and secrets in it.
create table idempotency_keys (
    -- Whose. No reference to users: whoever is deleted can ask for nothing, and the row is gone a day later.
    administrator uuid not null,
    -- Pseudonyms of the key, and of the route with the body: a body may have a password in it.
    key text not null,
    request text not null,
    result text not null,
    created_at bigint not null,
    primary key (administrator, key)
);

create index idempotency_keys_created_at on idempotency_keys (created_at);

-- A new table, and a column that may be null and that older programs neither read nor name when they write.
insert into schema_compatibility (version, oldest_program) values (14, 4);
