-- There are no roles here: nothing to do.
insert into schema_compatibility (version, oldest_program) values (18, 4);
