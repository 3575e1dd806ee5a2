-- What became of claimed records, whoever asks and whatever became of the claimer: from the queue and the log of
-- attempts, in the order given.  By id and token, because an index on tokens would be written at each claim.
create or replace function conveyor.get_claim_summary(p_ids bigint[], p_tokens bigint[])
    returns table (
        id         bigint,
        outcome    text,
        error      text,
        error_type text
    )
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform conveyor._check_answers(p_ids, p_tokens);

    return query
    select
        a.id,
        case
            when q.status = 'completed' then 'completed'
            when t.outcome is not null then t.outcome
            when q.status = 'processing' and q.lease_expires_at is not null then 'processing'
            else 'lost'
        end,
        t.error,
        t.error_type
    from unnest(p_ids, p_tokens) with ordinality as a (id, token, position)
    left join conveyor.processing_queue as q
        on q.id = a.id
            and q.claim_token = a.token
    left join conveyor.attempt as t
        on t.record_id = a.id
            and t.claim_token = a.token
    order by a.position;
end;
$$;

comment on function conveyor.get_claim_summary is
    'For each claimed record: completed, failed, released, orphaned, cancelled, processing, or lost without a trace.';
