-- Give records back untouched: nothing is charged, the place in the order is the old one.  Fenced and repeatable
-- like the answers.  Locks in id order.
create or replace function conveyor.release_records(
    p_ids    bigint[],
    p_tokens bigint[]
)
    returns table (id bigint, outcome text)
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
    v_now  constant timestamptz := clock_timestamp();
    v_done bigint[];
    v_done_tokens bigint[];
begin
    perform conveyor._check_answers(p_ids, p_tokens);

    with answer as materialized (
        select distinct a.id, a.token
        from unnest(p_ids, p_tokens) as a (id, token)
    ),
    held as materialized (
        select q.id, q.claim_token, q.flow_instance_id, q.claimed_at
        from conveyor.processing_queue as q
        join answer as a
            on q.id = a.id
                and q.claim_token = a.token
        where q.id = any (p_ids)
            and q.lease_expires_at is not null
            and q.status not in ('pending', 'completed', 'failed')
        order by q.id
        for update of q
    ),
    logged as (
        insert into conveyor.attempt (record_id, claim_token, outcome, flow_instance_id, claimed_at, ended_at)
        select h.id, h.claim_token, 'released', h.flow_instance_id, h.claimed_at, v_now
        from held as h
        on conflict (record_id, claim_token) do nothing
    ),
    done as (
        update conveyor.processing_queue as q
        set status           = 'pending',
            updated_at       = v_now,
            lease_expires_at = null,
            claim_token      = null,
            flow_instance_id = null,
            claimed_at       = null
        from held as h
        where q.id = any (p_ids)
            and q.id = h.id
        returning q.id, h.claim_token as token
    )
    select array_agg(d.id), array_agg(d.token)
    into v_done, v_done_tokens
    from done as d;

    return query
    select o.id, o.outcome
    from conveyor._answer_outcomes(p_ids, p_tokens, v_done, v_done_tokens, 'released') as o;
end;
$$;

comment on function conveyor.release_records is
    'Puts claimed records back to pending, uncharged; outcome done, repeated or lost for each id, in order.';
