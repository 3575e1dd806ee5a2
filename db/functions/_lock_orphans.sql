-- Find records whose holder is gone, and lock them; what another session has locked (an answer on its way, another
-- reaper) is passed over.  Records put into processing by hand, without a lease, have that of their flow.
--
-- Like claims, looks for ended leases start at a floor while much dead has to be skipped.
create or replace function conveyor._lock_orphans(
    p_silent_for interval,
    p_flow_name  text,
    p_limit      integer
)
    returns bigint[]
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
declare
    c_index constant oid := 'conveyor.idx_processing_queue_processing'::regclass;
    v_now   constant timestamptz := clock_timestamp();
    v_floor conveyor.scan_floor := conveyor._read_floor('conveyor.floor_leases');
    v_full  constant boolean := p_flow_name is not null
        or (v_now between v_floor.looked_at and conveyor._next_look(v_floor)) is not true;
    v_from  constant timestamptz := case when v_full then '-infinity' else v_floor.due_at end;
    v_read  constant bigint := pg_stat_get_xact_tuples_returned(c_index);
    v_last  timestamptz;
    v_ended bigint[];
begin
    with ended as materialized (
        select q.id, q.lease_expires_at
        from conveyor.processing_queue as q
        where q.status = 'processing'
            and q.lease_expires_at between v_from and v_now
            and (p_flow_name is null or q.flow_name = p_flow_name)
        order by q.lease_expires_at
        limit p_limit
        for update skip locked
    )
    select array_agg(e.id), case when count(*) = p_limit then max(e.lease_expires_at) else v_now end
    into v_ended, v_last
    from ended as e;

    if p_flow_name is null and v_full then
        v_floor := row(0, v_last, 0, v_now, clock_timestamp() - v_now);
    end if;
    if p_flow_name is null
        and pg_stat_get_xact_tuples_returned(c_index) - v_read >= 256 + 4 * coalesce(cardinality(v_ended), 0)
    then
        v_floor.due_at := v_last;
        perform set_config('conveyor.floor_leases', v_floor::text, false);
    elsif p_flow_name is null and v_full then
        perform set_config('conveyor.floor_leases', '', false);
    end if;

    return v_ended || array(
        select q.id
        from conveyor.processing_queue as q
        where q.status = 'processing'
            and q.lease_expires_at is null
            and coalesce(q.claimed_at, q.updated_at) <= v_now - (conveyor._flow_settings(q.flow_name)).lease
            and (p_flow_name is null or q.flow_name = p_flow_name)
        limit p_limit
        for update skip locked
    ) || case when p_silent_for is not null then array(
        select q.id
        from conveyor.processing_queue as q
        where q.status = 'processing'
            and coalesce(greatest(q.claimed_at, q.heartbeat_at), q.updated_at) <= v_now - p_silent_for
            and (p_flow_name is null or q.flow_name = p_flow_name)
        limit p_limit
        for update skip locked
    ) end;
end;
$$;

comment on function conveyor._lock_orphans is
    'Locks and returns records in processing whose lease ended, or that were silent for so long.';
