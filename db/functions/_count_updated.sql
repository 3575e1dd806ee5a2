-- What was, is taken away, and what is, is added: no join of old and new rows.  A statement that moves nothing, such
-- as a heartbeat, writes nothing.  The times are those of records that were completed before it less after it, so
-- that an update of history cancels out.
--
-- Rings for whatever is pending afterwards, also when it was so before: a look that came while the row was locked has
-- skipped it.
create or replace function conveyor._count_updated()
    returns trigger
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_flow_names text[];
    v_rang       boolean;
begin
    with moved as materialized (
        select
            c.flow_name,
            coalesce(sum(c.rows) filter (where c.status = 'pending'), 0) as pending,
            coalesce(sum(c.rows) filter (where c.status = 'processing'), 0) as processing,
            coalesce(sum(c.rows) filter (where c.status = 'completed'), 0) as completed,
            coalesce(sum(c.rows) filter (where c.status = 'failed'), 0) as failed,
            coalesce(extract(epoch from sum(c.waited))::float8, 0) as wait_seconds,
            coalesce(extract(epoch from sum(c.ran))::float8, 0) as run_seconds,
            bool_or(c.status = 'pending' and c.rows > 0) as rings
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
    ),
    counted as (
        insert into conveyor.count_delta
            (flow_name, pending, processing, completed, failed, wait_seconds, run_seconds, counted_at)
        select
            m.flow_name, m.pending, m.processing, m.completed, m.failed, m.wait_seconds, m.run_seconds,
            clock_timestamp()
        from moved as m
        where (m.pending, m.processing, m.completed, m.failed) <> (0, 0, 0, 0)
    )
    select array_agg(m.flow_name)
    into v_flow_names
    from moved as m
    where m.rings;

    if v_flow_names is not null then
        v_rang := conveyor._ring(v_flow_names);
    end if;
    return null;
end;
$$;

comment on function conveyor._count_updated is
    'Counts what an update moved from status to status, or flow to flow, and rings for what is pending.';
