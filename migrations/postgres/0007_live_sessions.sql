-- The sessions of a user that were not ended, so that they are found beside any number of ended ones. A
-- refresh changes neither these columns nor `revoked_at`: its update stays on the page (HOT).
--
-- Where there are sessions already, the program has built the index before this, while everybody went on
-- reading and writing, which a transaction cannot (`store/postgres/migrating.rs`). Even looking whether it is
-- there by `if not exists` would wait for every writer.
do $$ begin
    if to_regclass('sessions_live') is null then
        create index sessions_live on sessions (user_id, subject_version) where revoked_at is null;
    end if;
end $$;

-- An index changes nothing for older programs.
insert into schema_compatibility (version, oldest_program) values (7, 4);
