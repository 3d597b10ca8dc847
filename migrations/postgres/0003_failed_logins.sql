-- Two indexes of the trail instead of one: strangers write failed logins, and however many they are, the
-- rest must be found beside them.
drop index events_user_id;
create index events_user_id on events (user_id, id)
    where user_id is not null and kind <> 'login-failed';
create index events_failed on events (user_id, id)
    where user_id is not null and kind = 'login-failed';
