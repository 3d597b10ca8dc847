-- Which newer schemas an older program may serve, so that services of two versions can run side by side while an
-- upgrade goes through. A row says: a program whose newest migration is `oldest_program` or a later one may serve a
-- database to which migration `version` was applied. A migration that adds no row for itself may be served only by
-- programs that know it. No program older than this table reads it, so no row names one.
create table schema_compatibility (
    version bigint primary key,
    oldest_program bigint not null check (oldest_program >= 4 and oldest_program < version)
);

-- It holds no secret, and the role that serves must be able to read it before anybody could grant that to it.
grant select on schema_compatibility to public;
