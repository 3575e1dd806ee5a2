-- Failed records back to pending, at their old place in the order.  The caller has the rows locked.
create or replace function conveyor._return_failed(
    p_ids    bigint[],
    p_afresh boolean
)
    returns integer
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer;
begin
    update conveyor.processing_queue as q
    set status           = 'pending',
        failure_kind     = null,
        error_message    = null,
        completed_at     = null,
        claimed_at       = null,
        claim_token      = null,
        flow_instance_id = null,
        lease_expires_at = null,
        updated_at       = clock_timestamp(),
        retry_count      = case when p_afresh then 0 else q.retry_count end,
        crash_count      = case when p_afresh then 0 else q.crash_count end
    where q.id = any (p_ids);

    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function conveyor._return_failed is 'Puts failed records back to pending, with their counts or afresh.';
