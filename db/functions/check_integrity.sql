-- What must always hold, asked of the tables.  No row: it does.  Reads everything: not for every minute.
create or replace function conveyor.check_integrity(p_repair boolean default false)
    returns table (problem text, record_id bigint, detail text, repaired boolean)
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_sequence constant text := pg_get_serial_sequence('conveyor.processing_queue', 'id');
    v_last     constant bigint := coalesce(pg_sequence_last_value(v_sequence::regclass), 0);
    v_highest  constant bigint := coalesce((select max(q.id) from conveyor.processing_queue as q), 0);
begin
    -- Cannot be repaired: the record was worked on twice, and both answers were taken.
    return query
    select 'answered twice', q.id, format('completed by claim %s, which also %s', q.claim_token, t.outcome), false
    from conveyor.processing_queue as q
    join conveyor.attempt as t
        on t.record_id = q.id
            and t.claim_token = q.claim_token
            and (t.ended_at < q.claimed_at) is not true  -- else it was put back and taken again by hand
    where q.status = 'completed';

    return query
    select 'answered, but still leased', q.id, format('%s, leased until %s', q.status, q.lease_expires_at), p_repair
    from conveyor.processing_queue as q
    where q.status in ('completed', 'failed')
        and q.lease_expires_at is not null;

    return query
    select 'attempt of no record', t.record_id, format('%s at %s', t.outcome, t.ended_at), p_repair
    from conveyor.attempt as t
    where not exists (select from conveyor.processing_queue as q where q.id = t.record_id);

    return query
    select 'ids run out of step', v_highest, format('%s will hand out %s next', v_sequence, v_last + 1), p_repair
    where v_highest > v_last;

    return query
    select 'index is not valid', null::bigint, format('reindex index %s', i.indexrelid::regclass), false
    from pg_index as i
    where i.indrelid = 'conveyor.processing_queue'::regclass
        and not i.indisvalid;

    return query
    with difference as materialized (
        select d.*
        from conveyor._count_differences() as d
    ),
    mended as (
        insert into conveyor.count_delta (flow_name, pending, processing, completed, failed, counted_at)
        select d.flow_name, d.pending, d.processing, d.completed, d.failed, clock_timestamp()
        from difference as d
        where p_repair
    )
    select
        'counts are off',
        null::bigint,
        format(
            'flow %s has %s pending, %s processing, %s completed, %s failed more than counted',
            d.flow_name, d.pending, d.processing, d.completed, d.failed
        ),
        p_repair
    from difference as d;

    if p_repair then
        update conveyor.processing_queue as q
        set lease_expires_at = null
        where q.status in ('completed', 'failed')
            and q.lease_expires_at is not null;

        delete from conveyor.attempt as t
        where not exists (select from conveyor.processing_queue as q where q.id = t.record_id);

        perform setval(v_sequence, greatest(v_highest, v_last))
        where v_highest > v_last;
    end if;
end;
$$;

comment on function conveyor.check_integrity is
    'Lists what breaks the promises of the queue; p_repair mends what can be mended. No row: all is well.';
