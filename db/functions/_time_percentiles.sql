-- p50 and p95 of the completed records of a window, by flow and, with a null name, of all.  Exact while no more were
-- completed than p_most; of more, the first of each hundredth of the window are read, and weighed by how many were
-- completed in it.  Nearest rank.
create or replace function conveyor._time_percentiles(
    p_since timestamptz,
    p_until timestamptz,
    p_most  integer default 10000
)
    returns table (
        flow_name text,
        records   bigint,
        exact     boolean,
        wait_p50  float8,
        wait_p95  float8,
        run_p50   float8,
        run_p95   float8
    )
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    v_width constant interval := interval '1 minute' * ceil(extract(epoch from p_until - p_since) / 6000);
begin
    return query
    with slice as materialized (
        select t.flow_name, g.starts_at, sum(t.completed)::float8 as completed
        from conveyor._throughput(p_since) as t
        cross join lateral (select date_bin(v_width, t.minute, p_since) as starts_at) as g
        where t.completed > 0
        group by t.flow_name, g.starts_at
    ),
    share as materialized (
        select
            case when sum(s.completed) <= p_most then p_most
                else ceil(p_most::float8 / nullif(count(*), 0))::integer end as most
        from slice as s
    ),
    read as materialized (
        select s.flow_name, s.starts_at, s.completed, r.waited, r.ran, count(*) over of_slice as records
        from slice as s
        cross join lateral (
            select
                extract(epoch from q.claimed_at - coalesce(q.run_at, q.created_at))::float8 as waited,
                extract(epoch from q.completed_at - q.claimed_at)::float8 as ran
            from conveyor.processing_queue as q
            where q.flow_name = s.flow_name
                and q.status = 'completed'
                and q.completed_at >= s.starts_at
                and q.completed_at < s.starts_at + v_width
                and q.claimed_at is not null
            order by q.completed_at
            limit (select share.most from share)
        ) as r
        window of_slice as (partition by s.flow_name, s.starts_at)
    ),
    weighed as (
        select o.flow_name, m.measure, m.value, w.weight, w.weight = 1 as exact
        from read as r
        cross join lateral (
            select case when r.records = share.most then greatest(r.completed / r.records, 1) else 1 end as weight
            from share
        ) as w
        cross join lateral (values ('wait', r.waited), ('run', r.ran)) as m (measure, value)
        cross join lateral (values (r.flow_name), (null)) as o (flow_name)
    ),
    ranked as (
        select
            w.*,
            sum(w.weight) over (partition by w.flow_name, w.measure order by w.value) as reached,
            sum(w.weight) over (partition by w.flow_name, w.measure) as total
        from weighed as w
    )
    select
        r.flow_name, count(*) filter (where r.measure = 'run'), bool_and(r.exact),
        min(r.value) filter (where r.measure = 'wait' and r.reached >= 0.5 * r.total),
        min(r.value) filter (where r.measure = 'wait' and r.reached >= 0.95 * r.total),
        min(r.value) filter (where r.measure = 'run' and r.reached >= 0.5 * r.total),
        min(r.value) filter (where r.measure = 'run' and r.reached >= 0.95 * r.total)
    from ranked as r
    group by r.flow_name;
end;
$$;

comment on function conveyor._time_percentiles is 'p50 and p95 of wait and run time in a window, by flow and of all.';
