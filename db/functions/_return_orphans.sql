-- Back to pending, charged; or failed, when the crash budget of the flow is used up.  The caller has the rows locked.
create or replace function conveyor._return_orphans(p_ids bigint[])
    returns integer
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
declare
    v_now   constant timestamptz := clock_timestamp();
    v_count integer;
begin
    with orphan as materialized (
        select
            q.id, q.claim_token, q.flow_instance_id, q.claimed_at, q.lease_expires_at,
            coalesce(q.crash_count + 1 >= f.crash_budget, false) as is_crashed
        from conveyor.processing_queue as q
        cross join lateral conveyor._flow_settings(q.flow_name) as f
        where q.id = any (p_ids)
    ),
    logged as (
        insert into conveyor.attempt
            (record_id, claim_token, outcome, error, flow_instance_id, claimed_at, ended_at)
        select
            o.id, o.claim_token, 'orphaned',
            format(
                '%s did not answer; its lease was to end at %s',
                coalesce(o.flow_instance_id, 'the holder'), coalesce(o.lease_expires_at::text, 'an unknown time')
            ),
            o.flow_instance_id, o.claimed_at, v_now
        from orphan as o
        on conflict (record_id, claim_token) do nothing
    )
    update conveyor.processing_queue as q
    set status           = case when o.is_crashed then 'failed' else 'pending' end,
        failure_kind     = case when o.is_crashed then 'crashed' end,
        error_message    = case when o.is_crashed
            then format(
                '%s claims ended without an answer; the last was by %s',
                q.crash_count + 1, coalesce(q.flow_instance_id, 'an unknown instance')
            )
            else q.error_message end,
        retry_count      = q.retry_count + 1,
        crash_count      = q.crash_count + 1,
        updated_at       = v_now,
        lease_expires_at = null,
        claim_token      = case when o.is_crashed then q.claim_token end,
        flow_instance_id = case when o.is_crashed then q.flow_instance_id end,
        claimed_at       = case when o.is_crashed then q.claimed_at end
    from orphan as o
    where q.id = any (p_ids)
        and q.id = o.id;

    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function conveyor._return_orphans is 'Takes records from holders that are gone, and counts them.';
