-- What is a function on Postgres is a transaction in the store here (`store/sqlite`).

-- Older programs read the reason `limit` as one that they do not know, which they tell as `admin`.
insert into schema_compatibility (version, oldest_program) values (8, 4);
