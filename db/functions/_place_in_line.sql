create or replace function conveyor._place_in_line(p_record conveyor.processing_queue)
    returns text
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    c_most   constant integer := 10000;
    v_before integer;
begin
    if conveyor._is_locked(p_record.id) then
        return 'is locked by a transaction that is still open: a claim, or a change by hand.';
    end if;

    select count(*)
    into v_before
    from (
        select
        from conveyor.processing_queue as q
        where q.flow_name = p_record.flow_name
            and q.status = 'pending'
            and (-q.priority::integer, coalesce(q.run_at, q.created_at), q.id)
            < (-p_record.priority::integer, coalesce(p_record.run_at, p_record.created_at), p_record.id)
            and coalesce(q.run_at, q.created_at) <= clock_timestamp()
        limit c_most
    ) as b;

    return case
        when v_before = 0 then 'is next in line: a worker of its flow takes it with its next claim.'
        when v_before = 1 then 'waits in line behind 1 record of its flow that is due.'
        when v_before < c_most then format('waits in line behind %s records of its flow that are due.', v_before)
        else format('waits in line behind %s or more records of its flow that are due.', c_most)
    end;
end;
$$;

comment on function conveyor._place_in_line is 'How many due records go before this one.';
