create or replace function conveyor._count_inserted()
    returns trigger
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_flow_names text[];
    v_rang       boolean;
begin
    with counted as (
        insert into conveyor.count_delta (flow_name, pending, processing, completed, failed, counted_at)
        select
            n.flow_name,
            count(*) filter (where n.status = 'pending'),
            count(*) filter (where n.status = 'processing'),
            count(*) filter (where n.status = 'completed'),
            count(*) filter (where n.status = 'failed'),
            clock_timestamp()
        from new_row as n
        group by n.flow_name
        returning flow_name, pending
    )
    select array_agg(c.flow_name) filter (where c.pending > 0)
    into v_flow_names
    from counted as c;

    -- One flow, whose door is open, is the common case: as an expression here it costs half of the call.
    if v_flow_names is null
        or cardinality(v_flow_names) = 1
        and pg_try_advisory_xact_lock_shared(conveyor._wake_key(v_flow_names[1], 'empty', -1))
    then
        return null;
    end if;

    v_rang := conveyor._ring(v_flow_names);
    return null;
end;
$$;

comment on function conveyor._count_inserted is
    'Counts the rows of an insert or copy, and rings for those that are pending.';
