-- The same as on Postgres; see there for the reasons. There are no roles here.
-- contract: no program of before takes the end of a session back, or gives it another user or version.
create trigger sessions_stay_ended before update of revoked_at, subject_version, user_id on sessions
when (old.revoked_at is not null and new.revoked_at is null)
    or new.subject_version <> old.subject_version or new.user_id <> old.user_id
begin
    select raise(abort, 'this session would be live again, or of somebody else: let its user log in');
end;

insert into schema_compatibility (version, oldest_program) values (17, 4);
