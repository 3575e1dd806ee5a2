-- Failures for which the handler is to blame get another try; crashed and cancelled ones wait for requeue_records.
create or replace function conveyor.reset_failed_records(
    p_flow_name   text,
    p_max_retries integer default 3
)
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids bigint[];
begin
    perform conveyor._check_flow_name(p_flow_name);
    if (p_max_retries >= 0) is not true then
        perform conveyor._raise_invalid('p_max_retries', p_max_retries::text, 'a number from 0 up');
    end if;

    v_ids := array(
        select q.id
        from conveyor.processing_queue as q
        where q.flow_name = p_flow_name
            and q.status = 'failed'
            and coalesce(q.failure_kind, 'error') = 'error'
            and q.retry_count < p_max_retries
        order by q.id
        for update
    );
    return conveyor._return_failed(v_ids, false);
end;
$$;

comment on function conveyor.reset_failed_records is
    'Puts failed records with fewer than p_max_retries retries back to pending, counts kept; returns how many.';
