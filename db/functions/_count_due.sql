-- How many records are due, among the first p_most of the flow from the session's floor on: enough to know how many
-- sleepers they would keep busy.
create or replace function conveyor._count_due(p_flow_name text, p_most integer)
    returns integer
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
declare
    v_floor constant conveyor.scan_floor := conveyor._read_floor(conveyor._floor_setting(p_flow_name));
    v_count integer;
begin
    select count(*) filter (where f.due_at <= clock_timestamp())
    into v_count
    from (
        select coalesce(q.run_at, q.created_at) as due_at
        from conveyor.processing_queue as q
        where q.flow_name = p_flow_name
            and q.status = 'pending'
            and (-q.priority::integer, coalesce(q.run_at, q.created_at), q.id)
            >= (coalesce(v_floor.rank, -32768), coalesce(v_floor.due_at, '-infinity'), coalesce(v_floor.id, 0))
        order by -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
        limit p_most
    ) as f;
    return v_count;
end;
$$;

comment on function conveyor._count_due is 'How many of the first records of a flow are due.';
