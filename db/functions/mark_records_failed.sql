-- Fail many records: each goes back to pending when its flow retries and may again, else to failed.  Fenced and
-- repeatable like mark_records_completed.  What is too long to keep is cut, never refused.  Locks in id order.
create or replace function conveyor.mark_records_failed(
    p_ids    bigint[],
    p_errors jsonb,
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
    perform conveyor._check_answers(p_ids, p_tokens, 'p_errors', p_errors);
    perform conveyor._check_errors(p_errors);

    with answer as materialized (
        select distinct on (a.id, a.token) a.id, a.token, a.error
        from rows from (unnest(p_ids), unnest(p_tokens), jsonb_array_elements(p_errors))
            with ordinality as a (id, token, error, position)
        order by a.id, a.token, a.position  -- of an id that comes twice, the first answer counts
    ),
    held as materialized (
        select q.id, q.claim_token, q.flow_instance_id, q.claimed_at, q.flow_name, q.retry_count, a.error
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
    verdict as materialized (
        select
            h.*,
            conveyor._cut(h.error ->> 'error', 10000) as message,
            case
                when not coalesce((h.error ->> 'permanent')::boolean, false)
                    and (f.max_retries is null or h.retry_count < f.max_retries)
                    then v_now + conveyor._retry_delay(f.retry_delay, f.retry_backoff, h.retry_count)
            end as retry_at
        from held as h
        cross join lateral conveyor._flow_settings(h.flow_name) as f
    ),
    logged as (
        insert into conveyor.attempt
            (record_id, claim_token, outcome, error, error_type, context, flow_instance_id, claimed_at, ended_at)
        select
            v.id, v.claim_token, 'failed', v.message, conveyor._cut(v.error ->> 'error_type', 200),
            conveyor._cut_context(nullif(v.error -> 'context', 'null')), v.flow_instance_id, v.claimed_at, v_now
        from verdict as v
        on conflict (record_id, claim_token) do nothing
    ),
    done as (
        update conveyor.processing_queue as q
        set status           = case when v.retry_at is null then 'failed' else 'pending' end,
            failure_kind     = case when v.retry_at is null then 'error' end,
            run_at           = coalesce(v.retry_at, q.run_at),
            error_message    = v.message,
            retry_count      = q.retry_count + 1,
            updated_at       = v_now,
            lease_expires_at = null,
            claim_token      = case when v.retry_at is null then q.claim_token end,
            flow_instance_id = case when v.retry_at is null then q.flow_instance_id end,
            claimed_at       = case when v.retry_at is null then q.claimed_at end
        from verdict as v
        where q.id = any (p_ids)
            and q.id = v.id
        returning q.id, v.claim_token as token
    )
    select array_agg(d.id), array_agg(d.token)
    into v_done, v_done_tokens
    from done as d;

    return query
    select o.id, o.outcome
    from conveyor._answer_outcomes(p_ids, p_tokens, v_done, v_done_tokens, 'failed') as o;
end;
$$;

comment on function conveyor.mark_records_failed is
    'Fails records with an array of {error, error_type?, context?, permanent?}; done, repeated or lost for each id.';
