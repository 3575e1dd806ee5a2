-- Complete many records.  Each is fenced by its token; what is lost is reported and holds up nobody else.
-- The same answer may be sent again.  Locks in id order.
--
-- The guard says "not pending, completed or failed" (after raw SQL a lease may be left behind), not "processing":
-- that would invite a plan over the partial index and everything dead in it.  The join is forced, because the plan is
-- kept while the table grows, and work_mem is large, because a hash join that spills would lock in another order; it
-- is used only as far as the results need it.
create or replace function conveyor.mark_records_completed(
    p_ids     bigint[],
    p_results jsonb,
    p_tokens  bigint[]
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
    set work_mem = '1GB'
as $$
#variable_conflict use_column
declare
    v_now         constant timestamptz := clock_timestamp();
    v_done        bigint[];
    v_done_tokens bigint[];
begin
    perform conveyor._check_answers(p_ids, p_tokens, 'p_results', p_results);

    with answer as (
        select distinct on (a.id, a.token) a.id, a.token, a.result
        from rows from (unnest(p_ids), unnest(p_tokens), jsonb_array_elements(p_results))
            with ordinality as a (id, token, result, position)
        order by a.id, a.token, a.position  -- of an id that comes twice, the first answer counts
    ),
    done as (
        update conveyor.processing_queue as q
        set status           = 'completed',
            completed_at     = v_now,
            updated_at       = v_now,
            lease_expires_at = null,
            error_message    = null,
            failure_kind     = null,
            payload          = a.result,
            -- A record reset by hand after it was completed still has its first question here.
            input            = case
                when q.flow_name = any (array(select f.flow_name from conveyor.flow as f where not f.keep_input))
                    then null
                else coalesce(q.input, q.payload)
            end
        from answer as a
        where q.id = any (p_ids)
            and q.id = a.id
            and q.claim_token = a.token
            and q.lease_expires_at is not null
            and q.status not in ('pending', 'completed', 'failed')
        returning q.id, a.token as token
    )
    select array_agg(d.id), array_agg(d.token)
    into v_done, v_done_tokens
    from done as d;

    -- Nearly always; a call of _answer_outcomes would cost more than saying so.
    if cardinality(v_done) = cardinality(p_ids) then
        return query
        select a.id, 'done'
        from unnest(p_ids) as a (id);
        return;
    end if;

    return query
    select o.id, o.outcome
    from conveyor._answer_outcomes(p_ids, p_tokens, v_done, v_done_tokens, 'completed') as o;
end;
$$;

comment on function conveyor.mark_records_completed is
    'Stores a JSON array of results and completes their records; outcome done, repeated or lost for each id, in order.';
