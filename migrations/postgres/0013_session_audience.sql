-- For which services a session is, where it was asked for fewer than its client may have (`resource`, RFC 8707): a
-- JSON array of text. Null: for all of them, as every session of before. It is written once, with the session, and no
-- index is on it, so a refresh goes on changing no index.
alter table sessions add column audience text;

-- A column that is null by default. A program of before opens sessions for all services, as it always did, and while
-- it runs beside a newer one, a refresh that comes to it gets a token for all services, whatever the session is for.
insert into schema_compatibility (version, oldest_program) values (13, 4);
