-- A statement that moves nothing, such as a heartbeat, writes nothing.  The times are those of records that were
-- completed before it less after it, so that an update of history cancels out.
--
-- Nearly every statement moves records of one flow from one status to one other, and comparing rows with the first is
-- cheaper than grouping them.  For any other, what was is taken away, and what is, is added: no join of old and new.
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
    v_flow_name  text;
    v_before     text;
    v_after      text;
    v_alike      boolean;
    v_flow_names text[];
    v_rang       boolean;
begin
    select
        o.flow_name,
        o.status,
        n.status,
        o.status <> 'completed'
            and not exists (select from old_row as r where (r.flow_name, r.status) <> (o.flow_name, o.status))
            and not exists (select from new_row as r where (r.flow_name, r.status) <> (o.flow_name, n.status))
    into v_flow_name, v_before, v_after, v_alike
    from (select r.flow_name, r.status from old_row as r limit 1) as o
    cross join (select r.status from new_row as r limit 1) as n;

    if v_alike then
        if v_before <> v_after then
            insert into conveyor.count_delta
                (flow_name, pending, processing, completed, failed, wait_seconds, run_seconds, counted_at)
            select
                v_flow_name,
                count(*) * ((v_after = 'pending')::integer - (v_before = 'pending')::integer),
                count(*) * ((v_after = 'processing')::integer - (v_before = 'processing')::integer),
                count(*) * (v_after = 'completed')::integer,
                count(*) * ((v_after = 'failed')::integer - (v_before = 'failed')::integer),
                coalesce(extract(epoch from sum(n.claimed_at - coalesce(n.run_at, n.created_at))
                    filter (where v_after = 'completed'))::float8, 0),
                coalesce(extract(epoch from sum(n.completed_at - n.claimed_at)
                    filter (where v_after = 'completed'))::float8, 0),
                clock_timestamp()
            from new_row as n;
        end if;
        v_flow_names := case when v_after = 'pending' then array[v_flow_name] end;
    else
        with moved as materialized (
            select
                c.flow_name,
                coalesce(sum(c.sign) filter (where c.status = 'pending'), 0) as pending,
                coalesce(sum(c.sign) filter (where c.status = 'processing'), 0) as processing,
                coalesce(sum(c.sign) filter (where c.status = 'completed'), 0) as completed,
                coalesce(sum(c.sign) filter (where c.status = 'failed'), 0) as failed,
                coalesce(extract(epoch from sum(c.sign * (c.claimed_at - c.due_at))
                    filter (where c.status = 'completed'))::float8, 0) as wait_seconds,
                coalesce(extract(epoch from sum(c.sign * (c.completed_at - c.claimed_at))
                    filter (where c.status = 'completed'))::float8, 0) as run_seconds,
                coalesce(bool_or(c.status = 'pending' and c.sign = 1), false) as rings
            from (
                select
                    o.flow_name,
                    o.status,
                    coalesce(o.run_at, o.created_at) as due_at,
                    o.claimed_at,
                    o.completed_at,
                    -1 as sign
                from old_row as o
                union all
                select n.flow_name, n.status, coalesce(n.run_at, n.created_at), n.claimed_at, n.completed_at, 1
                from new_row as n
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
    end if;

    if v_flow_names is not null then
        v_rang := conveyor._ring(v_flow_names);
    end if;
    return null;
end;
$$;

comment on function conveyor._count_updated is
    'Counts what an update moved from status to status, or flow to flow, and rings for what is pending.';
