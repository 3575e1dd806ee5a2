-- What became of each answer, in the order given.  A statement of its own: an identical answer that another session
-- was just committing is in this snapshot, not in that of the update that waited for it.
create or replace function conveyor._answer_outcomes(
    p_ids         bigint[],
    p_tokens      bigint[],
    p_done        bigint[],
    p_done_tokens bigint[],
    p_outcome     text
)
    returns table (id bigint, outcome text)
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
    set enable_nestloop = on
as $$
#variable_conflict use_column
begin
    if cardinality(p_done) = cardinality(p_ids) then
        return query
        select a.id, 'done'
        from unnest(p_ids) as a (id);
        return;
    end if;

    return query
    with answer as (
        select
            a.id,
            a.token,
            a.position,
            row_number() over (partition by a.id, a.token order by a.position) as nth,
            case
                when p_outcome = 'completed' then exists (
                    select
                    from conveyor.processing_queue as q
                    where q.id = a.id
                        and q.claim_token = a.token
                        and q.status = 'completed'
                )
                else exists (
                    select
                    from conveyor.attempt as t
                    where t.record_id = a.id
                        and t.claim_token = a.token
                        and t.outcome = p_outcome
                )
            end as is_accepted
        from unnest(p_ids, p_tokens) with ordinality as a (id, token, position)
    )
    select
        a.id,
        case
            when a.is_accepted and a.nth = 1 and d.id is not null then 'done'
            when a.is_accepted then 'repeated'
            else 'lost'
        end
    from answer as a
    left join unnest(p_done, p_done_tokens) as d (id, token)
        on d.id = a.id
            and d.token = a.token
    order by a.position;
end;
$$;

comment on function conveyor._answer_outcomes is 'Says done, repeated or lost for each answer of a bulk verb.';
