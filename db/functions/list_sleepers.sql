-- Read from the locks that park() takes.  Of flows that nobody knows, without a record and without settings, nothing is
-- listed.
create or replace function conveyor.list_sleepers(p_flow_name text default null, p_size integer default 8)
    returns table (
        flow_name        text,
        reason           text,
        seat             integer,
        door_closed      boolean,
        pid              integer,
        application_name text
    )
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if p_flow_name is not null then
        perform conveyor._check_flow_name(p_flow_name);
    end if;

    return query
    with held as materialized (
        select l.classid::bigint << 32 | l.objid::bigint as key, l.pid
        from pg_locks as l
        where l.locktype = 'advisory'
            and l.objsubid = 1
            and l.mode = 'ExclusiveLock'
            and l.granted
            and l.database = (select d.oid from pg_database as d where d.datname = current_database())
    ),
    flow as (
        select f.flow_name
        from conveyor.flow as f
        union
        select d.flow_name
        from conveyor.count_delta as d
    ),
    taken as (
        select f.flow_name, r.reason, s.seat, h.pid
        from flow as f
        cross join (values ('empty'), ('paused')) as r (reason)
        cross join generate_series(-1, p_size - 1) as s (seat)
        join held as h
            on h.key = conveyor._wake_key(f.flow_name, r.reason, s.seat)
        where exists (select from held)  -- or every key is computed for nothing
            and (p_flow_name is null or f.flow_name = p_flow_name)
    )
    select
        t.flow_name, t.reason, t.seat,
        exists (
            select
            from taken as d
            where d.flow_name = t.flow_name
                and d.reason = t.reason
                and d.seat = -1
        ),
        t.pid, a.application_name
    from taken as t
    left join pg_stat_get_activity(t.pid) as a
        on true
    where t.seat >= 0
    order by t.flow_name, t.reason, t.seat;
end;
$$;

comment on function conveyor.list_sleepers is
    'Who sleeps until there is work, for which flow and why; the door of the place is closed while somebody answers.';
