-- What was, is taken away, and what is, is added: no join of old and new rows.  A statement that moves nothing, such
-- as a heartbeat, writes nothing.  The times are those of records that were completed before it less after it, so
-- that an update of history cancels out.
create or replace function conveyor._count_updated()
    returns trigger
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    insert into conveyor.count_delta
        (flow_name, pending, processing, completed, failed, wait_seconds, run_seconds, counted_at)
    select d.*, clock_timestamp()
    from (
        select
            c.flow_name,
            coalesce(sum(c.rows) filter (where c.status = 'pending'), 0) as pending,
            coalesce(sum(c.rows) filter (where c.status = 'processing'), 0) as processing,
            coalesce(sum(c.rows) filter (where c.status = 'completed'), 0) as completed,
            coalesce(sum(c.rows) filter (where c.status = 'failed'), 0) as failed,
            coalesce(extract(epoch from sum(c.waited))::float8, 0) as wait_seconds,
            coalesce(extract(epoch from sum(c.ran))::float8, 0) as run_seconds
        from (
            select
                o.flow_name,
                o.status,
                -count(*) as rows,
                -sum(o.claimed_at - coalesce(o.run_at, o.created_at)) filter (where o.status = 'completed') as waited,
                -sum(o.completed_at - o.claimed_at) filter (where o.status = 'completed') as ran
            from old_row as o
            group by o.flow_name, o.status
            union all
            select
                n.flow_name,
                n.status,
                count(*),
                sum(n.claimed_at - coalesce(n.run_at, n.created_at)) filter (where n.status = 'completed'),
                sum(n.completed_at - n.claimed_at) filter (where n.status = 'completed')
            from new_row as n
            group by n.flow_name, n.status
        ) as c
        group by c.flow_name
    ) as d
    where (d.pending, d.processing, d.completed, d.failed) <> (0, 0, 0, 0);
    return null;
end;
$$;

comment on function conveyor._count_updated is 'Counts what an update moved from status to status, or flow to flow.';
