-- The same as on Postgres; see there for the reasons.
drop index events_user_id;
create index events_user_id on events (user_id, id)
    where user_id is not null and kind <> 'login-failed';
create index events_failed on events (user_id, id)
    where user_id is not null and kind = 'login-failed';
