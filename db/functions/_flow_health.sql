create or replace function conveyor._flow_health(p_at timestamptz, p_thresholds jsonb)
    returns table (
        flow_name        text,
        pending          bigint,
        processing       bigint,
        completed        bigint,
        failed           bigint,
        oldest_due_at    timestamptz,
        paused_at        timestamptz,
        completed_lately bigint,
        failed_lately    bigint,
        holders          bigint,
        orphaned         bigint,
        silent           bigint,
        orphaned_since   timestamptz,
        silent_since     timestamptz
    )
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
as $$
#variable_conflict use_column
declare
    v_counts constant jsonb := conveyor.get_queue_status() -> 'by_flow';
    v_since  constant timestamptz := conveyor._window_start(p_at, p_thresholds);
begin
    return query
    with lately as (
        select t.flow_name, sum(t.completed)::bigint as completed, sum(t.failed)::bigint as failed
        from conveyor._throughput(v_since) as t
        group by t.flow_name
    ),
    held as (
        select
            h.flow_name, count(*) as holders, sum(h.orphaned)::bigint as orphaned, sum(h.silent)::bigint as silent,
            min(h.orphaned_since) as orphaned_since, min(h.silent_since) as silent_since
        from conveyor._held_records(p_at, interval '1 hour' * (p_thresholds ->> 'silent_hours')::float8) as h
        group by h.flow_name
    )
    select
        n.flow_name, coalesce(c.pending, 0), coalesce(c.processing, 0), coalesce(c.completed, 0), coalesce(c.failed, 0),
        o.due_at, f.paused_at, coalesce(l.completed, 0), coalesce(l.failed, 0),
        coalesce(h.holders, 0), coalesce(h.orphaned, 0), coalesce(h.silent, 0), h.orphaned_since, h.silent_since
    from (
        select k.key as flow_name
        from jsonb_object_keys(v_counts) as k (key)
        union
        select l.flow_name
        from lately as l
    ) as n
    cross join lateral jsonb_to_record(coalesce(v_counts -> n.flow_name, '{}'))
        as c (pending bigint, processing bigint, completed bigint, failed bigint)
    left join conveyor._oldest_due(array(select k.key from jsonb_object_keys(v_counts) as k (key))) as o
        on o.flow_name = n.flow_name
    left join conveyor.flow as f
        on f.flow_name = n.flow_name
    left join lately as l
        on l.flow_name = n.flow_name
    left join held as h
        on h.flow_name = n.flow_name
    order by n.flow_name;
end;
$$;

comment on function conveyor._flow_health is
    'For each flow that has records, or had lately, the numbers by which it is judged.';
