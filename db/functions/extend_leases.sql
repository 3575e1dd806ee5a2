-- Heartbeat: one call for everything a worker holds.  Never shortens a lease.  A record that is locked (its handler
-- is completing it in a transaction of its own) is not waited for and keeps the lease it has.
create or replace function conveyor.extend_leases(
    p_ids    bigint[],
    p_tokens bigint[],
    p_lease  interval default null
)
    returns table (id bigint, lease_expires_at timestamptz)
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
    set enable_nestloop = off
    set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := clock_timestamp();
begin
    perform conveyor._check_answers(p_ids, p_tokens);
    perform conveyor._check_lease(p_lease);

    with held as materialized (
        select q.id
        from conveyor.processing_queue as q
        join unnest(p_ids, p_tokens) as a (id, token)
            on q.id = a.id
                and q.claim_token = a.token
        where q.id = any (p_ids)
            and q.lease_expires_at is not null
            and q.status not in ('pending', 'completed', 'failed')
        for update of q skip locked
    )
    update conveyor.processing_queue as q
    set lease_expires_at = greatest(
            q.lease_expires_at,
            v_now + coalesce(p_lease, (conveyor._flow_settings(q.flow_name)).lease)
        ),
        heartbeat_at     = v_now
    from held as h
    where q.id = any (p_ids)
        and q.id = h.id;

    return query
    select a.id, q.lease_expires_at
    from unnest(p_ids, p_tokens) with ordinality as a (id, token, position)
    left join conveyor.processing_queue as q
        on q.id = a.id
            and q.id = any (p_ids)
            and q.claim_token = a.token
            and q.lease_expires_at is not null
            and q.status not in ('pending', 'completed', 'failed')
    order by a.position;
end;
$$;

comment on function conveyor.extend_leases is
    'Extends leases to p_lease (default: the flow''s) from now; null for a record whose claim is lost.';
