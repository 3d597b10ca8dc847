-- Functions that triggers call run in whatever session makes the change. Where that session has another
-- `search_path`, they would write what is announced and told into tables of the same name elsewhere, and
-- nobody would hear of it. From now on they know the schema that they are in, which the connection of a
-- migration has as its own.
do $$
declare
    the_function regprocedure;
begin
    for the_function in
        select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = current_schema() and p.proname like 'latchkey\_%'
          and (p.prorettype = 'trigger'::regtype or p.proname = 'latchkey_announce')
    loop
        execute format('alter function %s set search_path from current', the_function);
    end loop;
end $$;

-- Ends the listed sessions, where they were not ended yet. A trigger announces each. The rows are locked in
-- the order of their ids, as by everything that ends several: two of them would else block each other.
create or replace function latchkey_end_listed(
    a_ids text[],
    a_reason text,
    a_offset_ms bigint
) returns void language plpgsql volatile as $$
declare
    the_now bigint;
begin
    perform 1 from sessions s
    where s.id = any(a_ids) and s.revoked_at is null order by s.id for no key update;
    the_now := latchkey_now(a_offset_ms);
    update sessions s set revoked_at = the_now, revoke_reason = a_reason
    where s.id = any(a_ids) and s.revoked_at is null;
end $$;

-- Older programs call the same functions with the same meaning.
insert into schema_compatibility (version, oldest_program) values (9, 4);
