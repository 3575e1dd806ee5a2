-- When a claim in this session may next find a record: the earliest due time over the priority levels, which may have
-- passed already; null when nothing is pending, infinity while the flow is paused.  Starts at the session's floor, so
-- call it in the session that claims, and answers no later than that session's next look from the start.
create or replace function conveyor.next_due_at(p_flow_name text)
    returns timestamptz
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
declare
    v_floor constant conveyor.scan_floor := conveyor._read_floor(conveyor._floor_setting(p_flow_name));
    v_due   timestamptz;
begin
    perform conveyor._check_flow_name(p_flow_name);
    if (conveyor._flow_settings(p_flow_name)).paused_at is not null then
        return timestamptz 'infinity';
    end if;

    with recursive level (rank, due_at, id) as (
        (
            select -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            from conveyor.processing_queue as q
            where q.flow_name = p_flow_name
                and q.status = 'pending'
                and (-q.priority::integer, coalesce(q.run_at, q.created_at), q.id)
                >= (coalesce(v_floor.rank, -32768), coalesce(v_floor.due_at, '-infinity'), coalesce(v_floor.id, 0))
            order by -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            limit 1
        )
        union all
        select n.rank, n.due_at, n.id
        from level as l
        cross join lateral (
            select -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            from conveyor.processing_queue as q
            where q.flow_name = p_flow_name
                and q.status = 'pending'
                and (-q.priority::integer, coalesce(q.run_at, q.created_at), q.id)
                > (l.rank, timestamptz 'infinity', 9223372036854775807)
            order by -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            limit 1
        ) as n (rank, due_at, id)
    )
    select min(l.due_at)
    into v_due
    from level as l;

    return least(v_due, conveyor._next_look(v_floor));
end;
$$;

comment on function conveyor.next_due_at is
    'When a claim in this session may next find a record of the flow; null: nothing is pending; infinity: paused.';
