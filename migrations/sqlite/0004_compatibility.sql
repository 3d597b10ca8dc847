-- The same as on Postgres; see there for the reasons.
create table schema_compatibility (
    version integer primary key,
    oldest_program integer not null check (oldest_program >= 4 and oldest_program < version)
);

-- One row, which the service rewrites in order to learn whether the disk still takes a write. Nothing reads it.
-- On Postgres the lock of a row tells the same.
create table write_probe (
    id integer primary key check (id = 1),
    filler blob not null
);
insert into write_probe (id, filler) values (1, x'00');
