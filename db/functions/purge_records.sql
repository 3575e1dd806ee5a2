-- Delete what was completed longer ago, oldest first, with its attempts.  At most p_limit a call: call it until it
-- returns less.  A purged record's dedup key may be added again.  What a source by id will read again stays, or it
-- would be added a second time; so keys are compared as numbers: text sorts 9 behind 10.
create or replace function conveyor.purge_records(
    p_flow_name  text,
    p_older_than interval,
    p_limit      integer default 10000
)
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_before timestamptz;
    v_count  integer;
begin
    perform conveyor._check_flow_name(p_flow_name);
    if (p_older_than between interval '0' and interval '1000 years') is not true then
        perform conveyor._raise_invalid(
            'p_older_than', p_older_than::text, 'an interval from 0 to 1000 years, such as 30 days'
        );
    end if;
    v_before := clock_timestamp() - p_older_than;
    if (p_limit between 1 and 1000000) is not true then
        perform conveyor._raise_invalid('p_limit', p_limit::text, 'a number from 1 to 1000000');
    end if;

    with old as materialized (
        select q.id
        from conveyor.processing_queue as q
        where q.flow_name = p_flow_name
            and q.status = 'completed'
            and q.completed_at <= v_before
            and not exists (
                select
                from conveyor.source_watermark as w
                where w.flow_name = p_flow_name
                    and w.key_kind = 'id'
                    and starts_with(q.dedup_key, w.source || ':')
                    and case
                        when substr(q.dedup_key, length(w.source) + 2) ~ '^-?[0-9]+$'
                            then coalesce(
                                substr(q.dedup_key, length(w.source) + 2)::numeric
                                > conveyor._read_after(w),
                                true  -- reset to the start
                            )
                    end
            )
        order by q.completed_at
        limit p_limit
        for update skip locked
    ),
    -- As an array: for a join the planner may read the whole table.
    forgotten as (
        delete from conveyor.attempt as t
        where t.record_id = any (array(select o.id from old as o))
    )
    delete from conveyor.processing_queue as q
    where q.id = any (array(select o.id from old as o));

    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function conveyor.purge_records is
    'Deletes up to p_limit records completed longer ago, but none that a source reads again; returns how many.';
