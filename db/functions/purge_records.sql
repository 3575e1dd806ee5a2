-- Delete what was completed longer ago, oldest first, with its attempts.  At most p_limit a call: call it until it
-- returns less.  A purged record's dedup key may be added again.
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
        order by q.completed_at
        limit p_limit
        for update skip locked
    ),
    forgotten as (
        delete from conveyor.attempt as t
        using old as o
        where t.record_id = o.id
    )
    delete from conveyor.processing_queue as q
    using old as o
    where q.id = o.id;

    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function conveyor.purge_records is
    'Deletes up to p_limit records of a flow that were completed longer ago than p_older_than; returns how many.';
