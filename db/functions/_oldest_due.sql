-- One probe for each flow and priority: a backlog of a million costs what one record does.
create or replace function conveyor._oldest_due(p_flow_names text[])
    returns table (flow_name text, due_at timestamptz)
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
#variable_conflict use_column
begin
    return query
    with recursive level as (
        select f.flow_name, h.rank, h.due_at
        from unnest(p_flow_names) as f (flow_name)
        cross join lateral (
            select -q.priority::integer as rank, coalesce(q.run_at, q.created_at) as due_at
            from conveyor.processing_queue as q
            where q.flow_name = f.flow_name
                and q.status = 'pending'
            order by -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            limit 1
        ) as h
        union all
        select l.flow_name, n.rank, n.due_at
        from level as l
        cross join lateral (
            select -q.priority::integer as rank, coalesce(q.run_at, q.created_at) as due_at
            from conveyor.processing_queue as q
            where q.flow_name = l.flow_name
                and q.status = 'pending'
                and -q.priority::integer > l.rank
            order by -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            limit 1
        ) as n
    )
    select l.flow_name, min(l.due_at)
    from level as l
    group by l.flow_name;
end;
$$;

comment on function conveyor._oldest_due is
    'When the pending record of each flow that is due first, whatever its priority, is due.';
