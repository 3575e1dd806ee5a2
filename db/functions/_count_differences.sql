-- By how much count(*) exceeds the counts, for each flow where it does: both read in one statement, hence in one
-- snapshot.  Volatile: a stable function reads with its caller's snapshot, which may predate a truncate that has just
-- ended.
create or replace function conveyor._count_differences()
    returns table (flow_name text, pending bigint, processing bigint, completed bigint, failed bigint)
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select
        c.flow_name,
        sum(c.pending)::bigint,
        sum(c.processing)::bigint,
        sum(c.completed)::bigint,
        sum(c.failed)::bigint
    from (
        select
            q.flow_name,
            count(*) filter (where q.status = 'pending') as pending,
            count(*) filter (where q.status = 'processing') as processing,
            count(*) filter (where q.status = 'completed') as completed,
            count(*) filter (where q.status = 'failed') as failed
        from conveyor.processing_queue as q
        group by q.flow_name
        union all
        select d.flow_name, -sum(d.pending), -sum(d.processing), -sum(d.completed), -sum(d.failed)
        from conveyor.count_delta as d
        group by d.flow_name
    ) as c
    group by c.flow_name
    having (sum(c.pending), sum(c.processing), sum(c.completed), sum(c.failed)) <> (0, 0, 0, 0);
end;
$$;

comment on function conveyor._count_differences is 'Where the counts are not what count(*) says, and by how much.';
