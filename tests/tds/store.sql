-- What the server for tests keeps in PostgreSQL beside its tables.
create schema tds;

-- Of each column the type it was declared with.
create table tds.declared (
    table_name  text not null,
    column_name text not null,
    shown       text not null,  -- the name as it was written
    kind        text not null,
    primary key (table_name, column_name)
);

create sequence tds.version as bigint start 2001;

-- A writer locks the version that was last before its first one, then takes that: so the lock is there before the
-- version can be seen to have been handed out.
create function tds.next_version() returns bytea language plpgsql volatile as $$
declare
    v_last bigint;
begin
    if coalesce(current_setting('tds.writes', true), '') <> pg_current_xact_id()::text then
        select s.last_value into v_last from tds.version as s;
        perform pg_advisory_xact_lock_shared(2707, v_last::integer);
        perform set_config('tds.writes', pg_current_xact_id()::text, true);
    end if;
    return decode(lpad(to_hex(nextval('tds.version')), 16, '0'), 'hex');
end $$;

-- In this order: whoever took a version up to the last had locked before, and is seen, or has ended.
create function tds.min_active_version() returns bytea language plpgsql volatile as $$
declare
    v_last   bigint;
    v_oldest bigint;
begin
    select s.last_value into v_last from tds.version as s;
    select min(l.objid::bigint)
    into v_oldest
    from pg_locks as l
    where l.locktype = 'advisory'
        and l.classid = 2707
        and l.database = (select d.oid from pg_database as d where d.datname = current_database());
    return decode(lpad(to_hex(least(v_last, coalesce(v_oldest, v_last)) + 1), 16, '0'), 'hex');
end $$;

create function tds.stamp() returns trigger language plpgsql as $$
begin
    new := jsonb_populate_record(new, jsonb_build_object(tg_argv[0], tds.next_version()));
    return new;
end $$;

create view tds.columns as
select
    current_database() as "table_catalog",
    'dbo' as "table_schema",
    c.relname::text as "table_name",
    d.shown as "column_name",
    a.attnum::integer as "ordinal_position",
    case when a.attnotnull then 'NO' else 'YES' end as "is_nullable",
    regexp_replace(replace(d.kind, 'rowversion', 'timestamp'), '\(.*', '') as "data_type"
from tds.declared as d
join pg_class as c on c.relname = d.table_name and c.relkind = 'r'
join pg_attribute as a on a.attrelid = c.oid and a.attname = d.column_name;

-- CONVERT(varchar, …, 121) of a time, from how it is kept: as many digits as the type has.
create function tds.style_121(p_kept text, p_base text, p_scale integer) returns text language sql immutable as $$
select case p_base
    when 'date' then p_kept
    when 'datetime' then left(p_kept, 19) || left(to_char(round(substr(p_kept, 21)::numeric / 10000), '"."FM000'), 4)
    when 'smalldatetime' then left(p_kept, 19) || '.000'
    when 'datetimeoffset' then
        to_char(left(p_kept, 19)::timestamp + split_part(p_kept, '|', 2)::integer * interval '1 minute',
            'YYYY-MM-DD HH24:MI:SS')
        || case when p_scale > 0 then substr(p_kept, 20, 1 + p_scale) else '' end
        || to_char(split_part(p_kept, '|', 2)::integer / 60, ' SG00')
        || to_char(abs(split_part(p_kept, '|', 2)::integer) % 60, '":"FM00')
    when 'time' then left(p_kept, 8 + case when p_scale > 0 then 1 + p_scale else 0 end)
    else left(p_kept, 19 + case when p_scale > 0 then 1 + p_scale else 0 end)
end
$$;
