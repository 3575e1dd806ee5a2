-- An operator's decision: failed records of any kind start afresh.  Others are left alone.
create or replace function conveyor.requeue_records(p_ids bigint[])
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids bigint[];
begin
    if p_ids is null then
        perform conveyor._raise_invalid('p_ids', null, 'an array of record ids');
    end if;

    v_ids := array(
        select q.id
        from conveyor.processing_queue as q
        where q.id = any (p_ids)
            and q.status = 'failed'
        order by q.id
        for update
    );
    return conveyor._return_failed(v_ids, true);
end;
$$;

comment on function conveyor.requeue_records is
    'Puts failed records back to pending with their counts zeroed; returns how many.';
