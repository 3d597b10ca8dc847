-- Whoever serves and is not the owner of the table adds what no trigger can notice, and nothing else.
create function latchkey_keep_told() returns trigger language plpgsql as $$
begin
    if pg_has_role((select c.relowner from pg_class c where c.oid = tg_relid), 'usage') then
        return new;
    end if;
    raise exception 'an entry % of the audit log is written by a trigger, with the change that it tells of', new.kind
        using errcode = 'insufficient_privilege', hint = 'Only the owner of the table writes one by hand.';
end $$;

-- What triggers tell and announce they write with the rights of the owner of the tables, so that whoever only serves can be
-- kept from writing it by itself. Tables of the session that makes the change come last in where they look: a temporary
-- one named `events`, `revocations` or `users` would otherwise stand in the place of ours, and nobody would hear of anything.
-- contract: it changes with whose rights and on which tables functions work, and not what they do.
do $$
declare
    the_function record;
begin
    for the_function in
        select p.oid::regprocedure as name,
            p.prorettype = 'trigger'::regtype and p.proname ~ '^latchkey_(tell|announce)_' as writes
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = current_schema() and p.proname like 'latchkey\_%'
          and (p.prorettype = 'trigger'::regtype or p.proname = 'latchkey_announce')
    loop
        execute format('alter function %s set search_path to %I, pg_temp', the_function.name, current_schema());
        if the_function.writes then
            execute format('alter function %s security definer', the_function.name);
            -- Or anybody could hang one on a table of their own, and have the owner write what never was.
            execute format('revoke execute on function %s from public', the_function.name);
        end if;
    end loop;
end $$;

-- contract: programs of before write by themselves only the entries that are named here.
create trigger events_told_by_triggers before insert on events
    for each row
    when (new.kind not in ('login-failed', 'limited', 'refresh-replayed', 'rotation-restored', 'clock-stepped',
            'ended-after-restore')
        and not (new.kind = 'session-ended' and new.reason is not distinct from 'reuse'))
    execute function latchkey_keep_told();

-- Programs of before make the same changes.
insert into schema_compatibility (version, oldest_program) values (18, 4);
