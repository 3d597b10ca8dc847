-- Entries of the audit log that are alike within ten minutes are one entry, which counts them. Whoever shows one token
-- again and again pushes nothing out.
alter table events add column times bigint not null default 1, add column last_at bigint;
-- What entries have in common that are counted as one; null: this one stands for itself.
alter table events add column repeat_of text;

-- contract: the column is new, and no program of before writes it.
create unique index events_repeat_of on events (repeat_of) where repeat_of is not null;

-- What the owner of an account sees of each kind must be found beside the others. On a large table they are built
-- before, while everybody goes on writing (`store/postgres/migrating.rs`).
-- contract: it only makes indexes, none of them unique, where they are not there yet.
do $$ begin
    if to_regclass('events_of_changes') is null then
        create index events_of_changes on events (user_id, id) where user_id is not null
            and kind not in ('login', 'session-ended', 'login-failed', 'refresh-replayed');
    end if;
    if to_regclass('events_replayed') is null then
        create index events_replayed on events (user_id, id)
            where user_id is not null and kind = 'refresh-replayed';
    end if;
end $$;

-- Whoever serves and is not the owner of the table deletes nothing that happened today, except what anybody can write
-- in any number; and never counts down. A little less than a day: two clocks may differ.
create function latchkey_keep_event() returns trigger
language plpgsql set search_path from current as $$
begin
    if tg_op = 'UPDATE' then
        raise exception 'entry % of the audit log would count less than it did', old.id
            using hint = 'An entry says how often it happened at least.';
    end if;
    if pg_has_role((select c.relowner from pg_class c where c.oid = tg_relid), 'usage') then
        return old;
    end if;
    raise exception 'entry % of the audit log is of today', old.id
        using errcode = 'insufficient_privilege',
            hint = 'Only the owner of the table deletes what is not a day old.';
end $$;

-- contract: programs of before know none of the two columns.
create trigger events_count_up before update of times, last_at on events
    for each row when (new.times < old.times or new.last_at < old.last_at)
    execute function latchkey_keep_event();

-- contract: programs of before delete what is older than a day, or beyond a million entries. Where that is of today,
-- their housekeeping says that it may not, and the new program does it.
create trigger events_of_today_stay before delete on events
    for each row
    when (old.at > latchkey_now(0) - 82800000
        and old.kind not in ('login-failed', 'limited', 'refresh-replayed'))
    execute function latchkey_keep_event();

-- Whoever may add entries may count them.
-- contract: it only grants, and takes no right from anybody.
do $$
declare
    the_role oid;
begin
    for the_role in
        select distinct a.grantee from pg_class c, aclexplode(c.relacl) a
        where c.oid = 'events'::regclass and a.privilege_type = 'INSERT' and a.grantee <> c.relowner
    loop
        execute format('grant update (times, last_at) on events to %s',
            case when the_role = 0 then 'public' else quote_ident(pg_get_userbyid(the_role)) end);
    end loop;
end $$;

-- Programs of before write entries that stand for themselves, and read one that counts as one that happened once.
insert into schema_compatibility (version, oldest_program) values (15, 4);
