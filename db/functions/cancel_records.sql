-- Give records up: pending ones are not claimed any more, and the holder of a claimed one learns with its next
-- heartbeat or answer that it lost it.  Waits for an answer that is just being committed.  Locks in id order.
create or replace function conveyor.cancel_records(
    p_ids    bigint[],
    p_reason text default null
)
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_now    constant timestamptz := clock_timestamp();
    v_reason constant text := conveyor._cut(p_reason, 10000);
    v_count  integer;
begin
    if p_ids is null then
        perform conveyor._raise_invalid('p_ids', null, 'an array of record ids');
    end if;

    with held as materialized (
        select q.id, q.status, q.claim_token, q.flow_instance_id, q.claimed_at
        from conveyor.processing_queue as q
        where q.id = any (p_ids)
            and q.status in ('pending', 'processing')
        order by q.id
        for update
    ),
    logged as (
        insert into conveyor.attempt
            (record_id, claim_token, outcome, error, flow_instance_id, claimed_at, ended_at)
        select h.id, h.claim_token, 'cancelled', v_reason, h.flow_instance_id, h.claimed_at, v_now
        from held as h
        where h.status = 'processing'
        on conflict (record_id, claim_token) do nothing
    )
    update conveyor.processing_queue as q
    set status           = 'failed',
        failure_kind     = 'cancelled',
        error_message    = coalesce(v_reason, 'cancelled'),
        updated_at       = v_now,
        lease_expires_at = null
    from held as h
    where q.id = h.id;

    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function conveyor.cancel_records is
    'Fails pending and processing records, kind cancelled, and revokes their claims; returns how many.';
