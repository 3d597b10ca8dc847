-- The same as on Postgres; see there for the reasons. Writers wait while the index is built: about a second for
-- a million sessions.
create index sessions_live on sessions (user_id, subject_version) where revoked_at is null;

-- An index changes nothing for older programs.
insert into schema_compatibility (version, oldest_program) values (7, 4);
