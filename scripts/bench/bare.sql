-- The reference: the same row changes on a table with the same columns and indexes, and the same columns returned by a
-- claim, by statements written by hand.  No counts, no floor, no checks of arguments, no outcome for each answer; the
-- same hints, so that the planner is not what is measured.

create table bare (like conveyor.processing_queue including all);
create sequence bare_token;

create function bare_claim(p_flow_name text, p_batch_size integer)
    returns table (
        id bigint, payload jsonb, retry_count integer, created_at timestamptz, claim_token bigint,
        lease_expires_at timestamptz
    )
    language plpgsql
    set plan_cache_mode = force_generic_plan
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    v_now   constant timestamptz := clock_timestamp();
    v_token constant bigint := nextval('bare_token');
begin
    return query
    update bare as q
    set status = 'processing', claimed_at = v_now, updated_at = v_now, flow_instance_id = 'bench',
        claim_token = v_token, lease_expires_at = v_now + interval '1 hour'
    where q.ctid = any (array(
        select c.ctid
        from bare as c
        where c.flow_name = p_flow_name and c.status = 'pending' and coalesce(c.run_at, c.created_at) <= v_now
        order by -c.priority::integer, coalesce(c.run_at, c.created_at), c.id
        limit p_batch_size
        for update skip locked
    ))
    returning q.id, q.payload, q.retry_count, q.created_at, q.claim_token, q.lease_expires_at;
end;
$$;

create function bare_complete(p_ids bigint[], p_results jsonb, p_tokens bigint[])
    returns integer
    language plpgsql
    set plan_cache_mode = force_generic_plan
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
declare
    v_now   constant timestamptz := clock_timestamp();
    v_count integer;
begin
    update bare as q
    set status = 'completed', completed_at = v_now, updated_at = v_now, lease_expires_at = null,
        input = q.payload, payload = a.result
    from rows from (unnest(p_ids), jsonb_array_elements(p_results), unnest(p_tokens)) as a (id, result, token)
    where q.id = any (p_ids) and q.id = a.id and q.claim_token = a.token and q.lease_expires_at is not null;
    get diagnostics v_count = row_count;
    return v_count;
end;
$$;
