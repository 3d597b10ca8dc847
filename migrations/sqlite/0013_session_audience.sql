-- The same as on Postgres; see there for the reasons.
alter table sessions add column audience text;

insert into schema_compatibility (version, oldest_program) values (13, 4);
